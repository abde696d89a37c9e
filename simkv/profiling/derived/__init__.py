"""How do published times of single operations become the price list of a model that nobody timed as a whole?

Ready-made profiles are made here, by a command that anyone may repeat: `simkv profile derive` (docs/profiles.md).
"""

from __future__ import annotations

from simkv.profiling.derived.compose import derive

__all__ = ["derive"]
