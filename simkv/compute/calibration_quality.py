"""How well is a calibration by `simkv calibrate` known: the part of its file that an import does not have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from simkv.compute.op_law import PREDICTED_BY, OpLaw
from simkv.compute.op_table import LAYER_PASSES, OpTable
from simkv.errors import InputError

_NUMBER = (int, float)

_ERRORS = {"n": int, "median": _NUMBER, "p95": _NUMBER, "max": _NUMBER, "signed_median": _NUMBER}

#: Every key of `quality` and the type of its value; a list holds items of one form.
QUALITY_FORM: Mapping[str, Any] = {
    "run": {
        "plan": str,
        "plan_sha256": str,
        "module_sha256": str,
        "seed": int,
        "rounds": int,
        "seconds": _NUMBER,
        "converged": bool,
        "converged_share": _NUMBER,
        "unmet": str,
        "resumed": int,
    },
    "load": {"before": _NUMBER, "after": _NUMBER, "preempted": _NUMBER, "cores": int, "threads": int},
    "anchors": [{"name": str, "t_s": _NUMBER, "spread": _NUMBER}],
    "ops": [
        {
            "name": str,
            "status": str,
            "clock": str,
            "statistic": str,
            "cache": str,
            "predict": str,
            "terms": [str],
            "coefficients": [_NUMBER],
            "condition": _NUMBER,
            "holdout": _ERRORS,
            "rejected": [_ERRORS],
            "repeatability": {"n": int, "median": _NUMBER, "p95": _NUMBER},
            "preempted": _NUMBER,
            "half_width": _NUMBER,
        }
    ],
    "samples": {"file": str, "rows": int, "sha256": str},
}

#: Median difference of two anchored runs of one machine that is accepted, as a share: of layers, and of all else.
REPEAT_WANTED: Mapping[str, float] = {"prefill_layer": 0.05, "decode_layer": 0.05}
REPEAT_ELSE = 0.10

CLOCKS = ("thread_cpu", "cuda_event", "wall")
STATUSES = ("complete", "partial")


def check(told: Mapping[str, Any], ops: Sequence[str]) -> None:
    """Refuse a quality part that does not speak of the operations of its file, or says what cannot be.

    Parameters
    ----------
    told : of the form `QUALITY_FORM`.
    ops : the operations that the file holds, in order.

    Raises
    ------
    InputError : see above.
    """
    named = [op["name"] for op in told["ops"]]
    if named != list(ops):
        wrong = next((name for name in named if name not in ops), "order or number")
        raise InputError(f"quality.ops: want one entry for each operation, in their order; wrong: {wrong}")
    for op in told["ops"]:
        _check_op(op)
    for at, share in (("run.converged_share", told["run"]["converged_share"]), ("load", told["load"]["preempted"])):
        if not 0 <= share <= 1:
            raise InputError(f"quality.{at}: want a share from 0 to 1, got {share}")
    if told["run"]["converged"] == bool(told["run"]["unmet"]):
        raise InputError("quality.run.unmet: want what was not met, exactly where the run has not converged")
    for anchor in told["anchors"]:
        if not 0 < anchor["t_s"] < math.inf:
            raise InputError(f"quality.anchors: {anchor['name']}: want a time above 0, got {anchor['t_s']}")


def _check_op(op: Mapping[str, Any]) -> None:
    at = f"quality.ops: {op['name']}"
    for key, known in (("predict", PREDICTED_BY), ("clock", CLOCKS), ("status", STATUSES)):
        if op[key] not in known:
            raise InputError(f"{at}: {key}: want one of {', '.join(known)}, got {op[key]!r}")
    if len(op["terms"]) != len(op["coefficients"]):
        raise InputError(
            f"{at}: want a coefficient for each of {len(op['terms'])} terms, got {len(op['coefficients'])}"
        )
    if not all(0 <= value < math.inf for value in op["coefficients"]):
        raise InputError(f"{at}: coefficients: want finite numbers, none below 0")
    for part in (op["holdout"], *op["rejected"], op["repeatability"]):
        if any(part[key] < 0 for key in part if key != "signed_median"):
            raise InputError(f"{at}: want errors of 0 or more")


def laws(told: Mapping[str, Any], ops: Sequence[OpTable]) -> dict[str, OpLaw]:
    """Return the cost of each operation that has one of its own.

    Raises
    ------
    InputError : a table with holes, or terms of other axes.
    """
    found = {}
    for said, op in zip(told["ops"], ops, strict=True):
        if said["predict"] != "composed":
            found[op.name] = OpLaw(op, said["terms"], said["coefficients"], said["predict"])
    return found


def anchor_ratio(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Return how much slower the machine of one calibration was than that of another, by their anchors.

    The median over the anchors that both have; 1 without any.

    Examples
    --------
    >>> anchor_ratio({"anchors": [{"name": "copy", "t_s": 2.0}]}, {"anchors": [{"name": "copy", "t_s": 1.0}]})
    2.0
    """
    here, there = ({item["name"]: item["t_s"] for item in told["anchors"]} for told in (one, other))
    ratios = sorted(here[name] / there[name] for name in here if name in there)
    if not ratios:
        return 1.0
    middle = len(ratios) // 2
    return float(ratios[middle] if len(ratios) % 2 else (ratios[middle - 1] + ratios[middle]) / 2)


def prices_steps(ops: Sequence[OpTable]) -> bool:
    """Return whether the operations are those of layers measured whole."""
    return any(op.name in LAYER_PASSES[:2] for op in ops)
