"""What a calibration holds: measured times of operations, each over axes of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from simkv.compute.attention import Attention, Skew, SkewRow
from simkv.compute.measured import MLP, ONCE, OPTIONAL, PER_LAYER, PER_SEQUENCE, LayerTables
from simkv.compute.tables import Grid, Line
from simkv.compute.two_table import DecodeTable
from simkv.errors import InputError

_SKEW_AXES = ("prefill_chunk", "kv_prefill", "n_decode", "n_longest", "kv_short", "kv_longest", "kv_mean")

#: Operations of a calibration by `simkv calibrate` that price steps: a layer's prefill and decode, and what runs once.
LAYER_PASSES = ("prefill_layer", "decode_layer", "embedding", "lm_head")

_BITS = ("int8", "int4", "int3", "int2")
#: Its operations on KV of one layer, keys and values together, by the tokens.
_KV_OPS = (
    *(f"{way}_{bits}_{per}" for bits in _BITS for per in ("token", "channel") for way in ("quantise", "dequantise")),
    *("quantise_fp8", "dequantise_fp8", "score_snapkv", "score_h2o"),
)
_COPIES = (
    *("copy_host", "clone_host", "copy_h2d_pageable", "copy_h2d_pinned", "copy_d2h_pageable", "copy_d2h_pinned"),
    *("disk_write", "disk_read", "tcp_send", "tcp_receive"),
)

#: Operation -> the axes that its time depends on.
AXES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys((*PER_LAYER, *MLP, *OPTIONAL, *ONCE), ("tokens",)),
    **dict.fromkeys(PER_SEQUENCE, ("sequences",)),
    "attention": ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode"),
    "attention_equal": _SKEW_AXES,
    "attention_unequal": _SKEW_AXES,
    "moe": ("tokens", "activated_experts"),
    "prefill_pass": ("new_tokens",),
    "decode_pass": ("kv_tokens", "context_tokens"),
    "prefill_layer": ("prefill_chunk", "kv_prefill"),
    "decode_layer": ("n_decode", "kv_decode"),
    "mixed_layer": ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode"),
    "unequal_layer": ("n_decode", "kv_mean", "kv_longest"),
    **dict.fromkeys(_KV_OPS, ("tokens",)),
    "score_q2c": ("tokens", "queries"),
    **dict.fromkeys(("gather", "scatter"), ("tokens", "kept")),
    **dict.fromkeys(("svd_gram", "svd_randomised", "svd_full"), ("tokens", "rank")),
    **dict.fromkeys(_COPIES, ("bytes",)),
}

#: Axis -> what it counts.
UNITS: Mapping[str, str] = {
    "tokens": "tokens",
    "sequences": "sequences",
    "prefill_chunk": "tokens",
    "kv_prefill": "tokens",
    "n_decode": "sequences",
    "kv_decode": "tokens",
    "n_longest": "sequences",
    "kv_short": "tokens",
    "kv_longest": "tokens",
    "kv_mean": "tokens",
    "activated_experts": "experts",
    "new_tokens": "tokens",
    "kv_tokens": "tokens",
    "context_tokens": "tokens",
    "queries": "tokens",
    "kept": "tokens",
    "rank": "ranks",
    "bytes": "bytes",
}

#: Where a time comes from: measured, partly measured, computed from measured ones, computed from data sheets.
SOURCES = ("silicon", "mixed", "derived", "analytic")

PASSES = ("prefill_pass", "decode_pass")

Row = tuple[float, ...]


class OpTable(NamedTuple):
    """The times of one operation.

    Attributes
    ----------
    name : of the operation, a key of `AXES`.
    rows : the place on each of its axes, and the time [s] of one call.
    source : of `SOURCES`.
    warnings : what a reader of results should know.
    """

    name: str
    rows: Sequence[Row]
    source: str = "silicon"
    warnings: tuple[str, ...] = ()

    @property
    def axes(self) -> tuple[str, ...]:
        """What the time depends on."""
        return AXES[self.name]

    def grid(self, axis: str) -> list[float]:
        """Return the places measured along an axis, ascending.

        Examples
        --------
        >>> OpTable("act_fn", [(1, 1e-6), (4, 2e-6)]).grid("tokens")
        [1, 4]
        """
        column = self.axes.index(axis)
        return sorted({row[column] for row in self.rows})


def layer_tables(ops: Sequence[OpTable], skewed: bool) -> LayerTables:
    """Return the tables of a per-layer calibration, ready to be looked up.

    Parameters
    ----------
    ops : its operations.
    skewed : price unequal contexts.

    Raises
    ------
    InputError : no attention, or no times of unequal contexts though they are to be priced.
    """
    by_name = {op.name: op for op in ops}
    if "attention" not in by_name:
        raise InputError("no times of attention")
    experts = by_name.get("moe")
    return LayerTables(
        dense={op.name: _line(op) for op in ops if op.axes == ("tokens",)},
        per_sequence={op.name: _line(op) for op in ops if op.axes == ("sequences",)},
        attention=Attention((int(c), int(k), int(n), int(d), t) for c, k, n, d, t in by_name["attention"].rows),
        experts=_experts(experts) if experts else None,
        skew=_skew(by_name) if skewed else None,
    )


def pass_tables(ops: Sequence[OpTable]) -> tuple[Line, DecodeTable]:
    """Return the two tables of a calibration of whole passes.

    Raises
    ------
    InputError : one of them is absent, or the table of decode passes has holes.
    """
    by_name = {op.name: op for op in ops}
    absent = [name for name in PASSES if name not in by_name]
    if absent:
        raise InputError(f"no times of {', '.join(absent)}")
    decode = by_name["decode_pass"]
    rows, columns = (decode.grid(axis) for axis in decode.axes)
    times_s = {(kv, context): time_s for kv, context, time_s in decode.rows}
    if len(times_s) != len(rows) * len(columns):
        raise InputError(f"decode_pass: want {len(rows)} x {len(columns)} different points, got {len(times_s)}")
    return _line(by_name["prefill_pass"]), DecodeTable(rows, columns, [[times_s[r, c] for c in columns] for r in rows])


def _line(op: OpTable) -> Line:
    return Line(op.name, op.axes[0], [(place, time_s) for place, time_s in op.rows])


def _experts(op: OpTable) -> Grid:
    return Grid(op.name, op.axes[0], op.axes[1], [(int(row), int(place), time_s) for row, place, time_s in op.rows])


def _skew(by_name: Mapping[str, OpTable]) -> Skew:
    absent = [name for name in ("attention_equal", "attention_unequal") if name not in by_name]
    if absent:
        raise InputError(f"no times of {', '.join(absent)}")
    equal_s = {row[:-1]: row[-1] for row in by_name["attention_equal"].rows}
    rows = []
    for *axes, unequal_s in by_name["attention_unequal"].rows:
        key = tuple(axes)
        if key not in equal_s:
            raise InputError(f"attention_unequal: no row of attention_equal with {key}")
        chunk, cached, decodes, _, _, longest, mean = key
        rows.append(SkewRow(int(chunk), int(cached), int(decodes), mean, longest, equal_s[key], unequal_s))
    skew = Skew(rows)
    if not skew:
        raise InputError("attention_unequal: no row with a mean KV of 400 to 4096 tokens")
    return skew
