"""What is measured: each operation with its clock, the terms of its fitted form, and the error that is accepted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain, product
from typing import NamedTuple

from simkv.compute.op_table import AXES
from simkv.errors import InputError
from simkv.registry import did_you_mean

#: Per-point statistic by clock, over its rounds: the least of CPU times (caches and neighbours only add to them), the
#: median of device times, the 20th percentile of waiting times, each itself one of a burst. Not their least: a link in
#: memory has rare moments at 2.5 times its usual rate, which one run meets and the next does not.
STATISTIC: Mapping[str, str] = {"thread_cpu": "min", "cuda_event": "median", "wall": "q20"}


class Limit(NamedTuple):
    """What is wanted of an operation.

    Attributes
    ----------
    median, p95 : held-out error, as a share; 0 = nothing is wanted.
    """

    median: float
    p95: float


class Op(NamedTuple):
    """One operation.

    Attributes
    ----------
    name : in the profile, a key of `AXES`.
    group : by which `--ops` asks for it.
    io : waits for something else than the device, so that its clock is the wall's.
    terms : of the fitted form.
    limit : the error that is accepted.
    """

    name: str
    group: str
    io: bool
    terms: tuple[str, ...]
    limit: Limit

    @property
    def axes(self) -> tuple[str, ...]:
        """What its time depends on."""
        return AXES[self.name]


_PREFILL = ("1", "prefill_chunk", "kv_prefill", "prefill_chunk^2", "prefill_chunk*kv_prefill")
_DECODE = ("1", "n_decode", "n_decode*kv_decode")
_BITS, _WAYS = ("int8", "int4", "int3", "int2"), ("quantise", "dequantise")
_LINE, _BYTES = ("1", "tokens"), ("1", "bytes")

_WANTED = Limit(0.05, 0.15)
_MEDIAN_ONLY = Limit(0.05, 0.0)
_SCORING = Limit(0.10, 0.35)
_NOTHING = Limit(0.0, 0.0)


def _layers() -> Iterable[Op]:
    yield Op("prefill_layer", "prefill", False, (*_PREFILL, "prefill_chunk^2[kv_prefill>0]"), Limit(0.05, 0.15))
    yield Op("decode_layer", "decode", False, _DECODE, Limit(0.05, 0.25))
    yield Op("mixed_layer", "mixed", False, (), _NOTHING)
    yield Op("unequal_layer", "mixed", False, (), _NOTHING)
    yield Op("embedding", "head", False, _LINE, _MEDIAN_ONLY)
    yield Op("lm_head", "head", False, ("1", "sequences"), _MEDIAN_ONLY)


def _codecs() -> Iterable[Op]:
    for bits in _BITS:
        limit = _WANTED if bits in ("int8", "int4") else _MEDIAN_ONLY
        for per, way in product(("token", "channel"), _WAYS):
            yield Op(f"{way}_{bits}_{per}", "quantise", False, _LINE, limit)
    yield from (Op(f"{way}_fp8", "quantise", False, _LINE, _MEDIAN_ONLY) for way in _WAYS)


def _selections() -> Iterable[Op]:
    yield Op("score_q2c", "select", False, ("1", "tokens", "tokens*queries"), _SCORING)
    yield Op("score_snapkv", "select", False, _LINE, _SCORING)
    yield Op("score_h2o", "select", False, ("1", "tokens", "tokens^2"), _SCORING)
    yield from (Op(name, "select", False, ("1", "tokens", "kept"), _MEDIAN_ONLY) for name in ("gather", "scatter"))
    for name in ("svd_gram", "svd_randomised", "svd_full"):
        yield Op(name, "svd", False, ("1", "tokens", "rank", "tokens*rank"), _WANTED)


def _transfers() -> Iterable[Op]:
    across = (f"copy_{way}_{memory}" for way in ("h2d", "d2h") for memory in ("pageable", "pinned"))
    yield from (Op(name, "copy", False, _BYTES, _WANTED) for name in ("copy_host", "clone_host", *across))
    yield from (Op(name, "disk", True, _BYTES, _NOTHING) for name in ("disk_write", "disk_read"))
    yield from (Op(name, "tcp", True, _BYTES, _SCORING) for name in ("tcp_send", "tcp_receive"))


OPS: Mapping[str, Op] = {op.name: op for op in chain(_layers(), _codecs(), _selections(), _transfers())}
GROUPS = tuple(dict.fromkeys(op.group for op in OPS.values()))


def chosen(text: str | None) -> list[str]:
    """Return the operations that `--ops` names, by group or by name; all of them for None.

    Raises
    ------
    InputError : neither a group nor an operation.

    Examples
    --------
    >>> chosen("decode,svd_full"), chosen("mixed")
    (['decode_layer', 'svd_full'], ['prefill_layer', 'decode_layer', 'mixed_layer', 'unequal_layer'])
    """
    if text is None:
        return list(OPS)
    wanted: set[str] = set()
    for word in filter(None, (part.strip() for part in text.split(","))):
        found = {name for name, op in OPS.items() if word in (name, op.group)}
        if not found:
            known = [*GROUPS, *OPS]
            raise InputError(f"--ops: unknown {word!r}{did_you_mean(word, known)}; groups: {', '.join(GROUPS)}")
        wanted |= found
    if not wanted:
        raise InputError(f"--ops: want at least one of {', '.join(GROUPS)}")
    if wanted & {"mixed_layer", "unequal_layer"}:  # priced by these two, so measured with them
        wanted |= {"prefill_layer", "decode_layer"}
    return [name for name in OPS if name in wanted]
