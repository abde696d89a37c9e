"""How well a measured profile is known, as text: the lower half of `simkv profile show`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from simkv.report.profile_view import aligned

_UNKNOWN = 1e9  # what a file says of an interval that too few samples give


def lines(quality: Mapping[str, Any]) -> Iterator[str]:
    """Return how the run went, and one row an operation."""
    run, load, anchors = quality["run"], quality["load"], quality["anchors"]
    certain = f"{100 * run['converged_share']:.0f} % of the points certain to 3 %"
    yield f"run: {run['plan']} plan, {run['rounds']} rounds, {run['seconds']:.0f} s, seed {run['seed']}, {certain}"
    yield f"stopped: {'converged' if run['converged'] else run['unmet']}"
    busy = f"{load['before']:g} to {load['after']:g} on {load['cores']} cores"
    yield f"load: {busy}, {100 * load['preempted']:.0f} % of the samples pre-empted; {load['threads']} thread"
    told = (f"{anchor['name']} {1e3 * anchor['t_s']:.4g} ms +- {50 * anchor['spread']:.1f} %" for anchor in anchors)
    yield f"anchors: {', '.join(told)}"
    yield f"measured by: files {run['module_sha256'][:12]}, plan {run['plan_sha256'][:12]}"
    yield f"samples: {quality['samples']['file']}, {quality['samples']['rows']:,} bursts"
    yield ""
    yield from aligned([*_table(quality["ops"])], right=(3, 4, 5, 6))


def _table(ops: Iterable[Mapping[str, Any]]) -> Iterator[list[str]]:
    yield ["operation", "clock", "priced by", "held out", "median error", "P95", "halves differ", "cache"]
    for op in ops:
        out, halves = op["holdout"], op["repeatability"]
        form = " + ".join(op["terms"]) if op["predict"] == "fit" else ""
        how = f"{op['predict']} {form}".rstrip()
        errors = [_share(out[key]) if out["n"] else "-" for key in ("median", "p95")]
        halved = _share(halves["median"]) if halves["n"] else "-"
        yield [op["name"], f"{op['clock']}, {op['statistic']}", how, str(out["n"]), *errors, halved, op["cache"]]


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
