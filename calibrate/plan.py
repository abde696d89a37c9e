"""Where each operation is measured: grids, and points off them that no fit sees."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

from simkv.rng import stream

from .ops import OPS

TRAIN, HOLDOUT = "train", "holdout"

#: Budgets [s] below this get the quick plan, every other place of each axis.
QUICK_BELOW_S = 120.0
_HELD_OUT = 0.23  # of the points of a grid, so 15-20 % of all
_LEAST_HELD_OUT = 2


class Case(NamedTuple):
    """One point of one operation.

    Attributes
    ----------
    op : its name.
    point : the place on each axis.
    role : "train" or "holdout".
    """

    op: str
    point: tuple[int, ...]
    role: str

    @property
    def key(self) -> str:
        """Its name in the journal.

        Examples
        --------
        >>> Case("gather", (1024, 64), TRAIN).key
        'gather:1024,64'
        """
        return f"{self.op}:{','.join(map(str, self.point))}"


@dataclass(frozen=True)
class Plan:
    """All that is measured, in the order of a profile.

    Attributes
    ----------
    name : "quick" or "standard".
    cases : the points.
    facts : what else decides the values: device, model, dtype.
    """

    name: str
    cases: tuple[Case, ...]
    facts: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """Hash of everything that is measured, so that a journal is only continued by the plan that began it."""
        told = {"name": self.name, "cases": self.cases, "facts": dict(self.facts)}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def ops(self) -> list[str]:
        """Return the operations, in their order."""
        return list(dict.fromkeys(case.op for case in self.cases))


Axis = tuple[int, ...]


def _powers(low: int, high: int, step: int = 2) -> Axis:
    """Return low, low * step, ... up to high.

    Examples
    --------
    >>> _powers(16, 300, 4)
    (16, 64, 256)
    """
    return tuple(
        low * step**power for power in range(round(math.log(high / low, step) + 0.4) + 1) if low * step**power <= high
    )


#: Tokens of contexts that are scored or taken apart: not aligned, as people's contexts are not. Aligned ones can take
#: 30 % less, so a grid of powers of two would be wrong everywhere else.
_ANY: Axis = (61, 91, 127, 181, 259, 367, 517, 727, 1031, 1453, 2053, 2903, 4099)
#: The same of H2O, whose time is quadratic; from 127 on, for below the tails of vectors outweigh the work.
_SHORT: Axis = (127, 149, 181, 215, 259, 307, 367, 437, 517, 613, 727, 863, 1031)
#: Ranks that codecs take. Time is no smooth function of the rank, so it is measured and held out at these alone.
_RANKS: Axis = (8, 16, 24, 32, 40, 48, 56, 64)
#: Bytes about the sizes where caches end, and where an allocator asks the system each time (from 32 MiB on).
_LARGE: Axis = (2**22, 5931643, 2**23, 11863283, 2**24, 19951585, 23726566, 28215803, 2**25 - 2**16, 2**25)

#: Bytes of what goes over a link, in steps of the root of 2: segments and buffers make knees.
_WIRE: Axis = tuple(round(2 ** (12 + step / 2)) for step in range(27))

#: Operation or group -> its axes on a CPU. Prefill chunks are those of schedulers: 256, 512, 2048 and remainders.
_CPU: Mapping[str, tuple[Axis, ...]] = {
    "prefill_layer": ((16, 64, 128, 256, 512, 1024, 2048), (0, 256, 1024, 4096)),
    "decode_layer": ((1, 2, 4, 8, 16), (16, 128, 512, 1024, 2048, 4096)),
    "mixed_layer": ((64, 256, 512), (0, 1024), (2, 8), (1024,)),
    "unequal_layer": ((4, 8, 16), (1024, 2048), (4096,)),
    "embedding": (_powers(1, 2048),),
    "lm_head": ((1, 2, 4, 8, 16),),
    "quantise": (_powers(64, 8192),),
    "score_q2c": (_ANY, (7, 13, 29, 61)),
    "score_snapkv": ((*_ANY, 5733, 8111),),
    "score_h2o": (_SHORT,),
    "select": ((1024, 2048, 4096, 8192), (64, 128, 256, 512, 1024)),
    "svd_gram": (_ANY[::2], (8, 16, 32, 64)),
    "svd_randomised": (_ANY[::2], _RANKS),
    "svd_full": (_ANY, (16, 64)),
    "copy": ((*_powers(2**14, 2**21), *_LARGE),),
    "disk": (_powers(2**14, 2**24, 4),),
    "tcp": (_WIRE,),
}
#: The same where it differs on a GPU, which takes longer chunks, larger batches and deeper KV.
_CUDA: Mapping[str, tuple[Axis, ...]] = {
    **_CPU,
    "prefill_layer": (
        (16, 64, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192),
        (0, 256, 1024, 4096, 8192, 16384),
    ),
    "decode_layer": ((1, 2, 4, 8, 16, 32, 64, 128), (16, 512, 1024, 2048, 4096, 8192, 16384)),
    "mixed_layer": ((64, 256, 512, 2048), (0, 2048), (8, 64), (2048,)),
    "unequal_layer": ((8, 32, 64), (1024, 2048), (8192,)),
    "lm_head": ((1, 2, 4, 8, 16, 32, 64, 128),),
    "quantise": (_powers(64, 32768),),
    "score_q2c": ((*_ANY, 8111, 16421, 32771), (7, 13, 29, 61, 127)),
    "score_h2o": ((*_SHORT, 2053, 4099, 8111),),
    "copy": (_powers(2**12, 2**28),),
}


def make(ops: Sequence[str], kind: str, budget_s: float, seed: int, facts: Mapping[str, Any]) -> Plan:
    """Return the plan of a run.

    Parameters
    ----------
    ops : what to measure, of `OPS`.
    kind : "cpu" or "cuda".
    budget_s : [s]; little of it gets coarser grids.
    seed : of the points off the grid.
    facts : what else decides the values.

    Examples
    --------
    >>> plan = make(["lm_head"], "cpu", 600.0, 1, {})
    >>> [case.point[0] for case in plan.cases if case.role == TRAIN], plan.ops()
    ([1, 2, 4, 8, 16], ['lm_head'])
    """
    quick = budget_s < QUICK_BELOW_S
    cases: list[Case] = []
    for op in ops:
        axes = _axes(op, kind)
        axes = tuple(_thinned(axis) for axis in axes) if quick else axes
        cases += (Case(op, point, TRAIN) for point in product(*axes) if _possible(op, point))
        cases += _held_out(op, axes, seed)
    return Plan("quick" if quick else "standard", tuple(cases), facts)


def _axes(op: str, kind: str) -> tuple[Axis, ...]:
    grids = _CUDA if kind == "cuda" else _CPU
    return grids.get(op) or grids[OPS[op].group]


def _thinned(axis: Axis) -> Axis:
    """Return the ends of an axis and every other place between."""
    return axis if len(axis) < 4 else tuple(dict.fromkeys((*axis[:-1:2], axis[-1])))


def _possible(op: str, point: tuple[int, ...]) -> bool:
    """Return whether there are such contexts: one is the longest, the others make the mean."""
    return op != "unequal_layer" or point[0] * point[1] > point[2] > point[1]


def _held_out(op: str, axes: tuple[Axis, ...], seed: int) -> Iterable[Case]:
    """Return points off the grid, log-uniform inside it; composed operations are all held out by themselves."""
    if not OPS[op].terms:
        return []
    grid = set(product(*axes))
    wanted = max(_LEAST_HELD_OUT, round(_HELD_OUT * len(grid)))
    rng = stream(seed, "calibrate", "holdout", op)
    ranks = axes[OPS[op].axes.index("rank")] if "rank" in OPS[op].axes else None
    found: dict[tuple[int, ...], None] = {}
    for _ in range(100 * wanted):
        point = tuple(rng.choice(axis) if axis == ranks else _drawn(axis, rng) for axis in axes)
        if point not in grid:
            found[point] = None
        if len(found) == wanted:
            break
    return [Case(op, point, HOLDOUT) for point in found]


def _drawn(axis: Axis, rng: random.Random) -> int:
    """Return a place inside an axis; 0, where it begins so, as often as another of its places."""
    low = axis[0]
    if low == 0:
        if rng.random() < 1 / len(axis):
            return 0
        low = max(1, axis[1] // 4)
    return round(math.exp(rng.uniform(math.log(low), math.log(axis[-1]))))
