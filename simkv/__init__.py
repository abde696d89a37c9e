"""simkv: a discrete-event simulator of LLM serving with moving KV cache.

Give it a scenario (who talks, over which links, on which GPUs, with how much KV memory) and it says what each
way of moving, predicting, keeping or recomputing KV cache does to time-to-first-token, bandwidth and GPU time,
with intervals, beside the best that any policy could do.

    comparison = simkv.compare(simkv.load("scenarios/5g_slice.yaml"))
    print(comparison)

Five nouns: workload, GPU, KV buffer, link, server. Three rules: policies see a view and return a decision;
every byte ends in exactly one class; equal scenario and seed give equal bytes.
To understand it, read `serving.py` next: the story of one request, top to bottom.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simkv.compare import compare
    from simkv.report.comparison import Comparison
    from simkv.scenario import Scenario, load
    from simkv.sweep import sweep
    from simkv.validate import validate

__version__ = "0.1.0"

__all__ = ["__version__", "compare", "load", "run", "sweep", "validate"]

#: What is imported when it is first asked for (PEP 562), so that `simkv --help` pays for none of it.
_LAZY = {"compare": "simkv.compare", "load": "simkv.scenario", "sweep": "simkv.sweep", "validate": "simkv.validate"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'simkv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


def run(scenario: Scenario, seed: int | None = None) -> Comparison:
    """Run all arms of a scenario and compare them, in this process.

    Parameters
    ----------
    scenario : as `simkv.load` returns it.
    seed : instead of the scenario's.

    Examples
    --------
    >>> run(load("scenarios/three_turns.yaml")).table["arm"].tolist()  # doctest: +SKIP
    ['none', 'sequential']
    """
    from simkv.compare import compare  # noqa: PLC0415 - see _LAZY

    return compare(scenario, seed=seed)


class _CallableModule(ModuleType):
    """`simkv.compare`, `sweep` and `validate` are modules and also functions of the same name, as promised above."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **kwargs)


class _Package(ModuleType):
    """Makes those submodules callable when the import system binds them here, whoever imports them first."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("compare", "sweep", "validate") and isinstance(value, ModuleType):
            value.__class__ = _CallableModule
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
