"""How predictable is question N+1 from the history? Phase 1 of speculative prefetching, measured on real dialogues."""

from simkv.predictability.analysis import SCHEMA_VERSION, predictability

__all__ = ["SCHEMA_VERSION", "predictability"]
