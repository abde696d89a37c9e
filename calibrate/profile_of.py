"""From bursts to a profile: one time a point, a form or a table for each operation, and how well both are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from simkv.compute.calibration import SHAPE_FACTS, MeasuredProfile, Provenance
from simkv.compute.calibration_file import MEASURED
from simkv.compute.layer_passes import longest_share, mixed_ratio
from simkv.compute.op_law import OpLaw
from simkv.compute.op_table import OpTable, Row
from simkv.errors import InputError
from simkv.model import ModelShape

from .fits import Choice, Errors, choose, errors
from .ops import OPS, STATISTIC
from .plan import HOLDOUT, TRAIN, Case, Plan
from .rounds import Samples, normalised
from .stopping import Stop, half_width
from .waiting import q20

_DIGITS = 9
_CACHE = {
    "prefill": "weights of 4 layers in turn, KV hot",
    "wall": "sockets hot; the disk's cache dropped before reads",
}
_HOT = "hot: the same buffers again and again"


@dataclass(frozen=True)
class Run:
    """What is known of a run beside its bursts.

    Attributes
    ----------
    plan : what was to be measured.
    shape : of the model.
    clock : of the device's operations.
    device : what tells the device from others; `name` among it.
    software : versions.
    module_sha256 : of the files that measured.
    seed : of points, order and numbers.
    stop : where it stood at its end.
    seconds : of wall time, all parts of it.
    resumed : bursts that an earlier part had made.
    load : programs that wanted a core, before and after.
    """

    plan: Plan
    shape: ModelShape
    clock: str
    device: Mapping[str, str]
    software: Mapping[str, str]
    module_sha256: str
    seed: int
    stop: Stop
    seconds: float
    resumed: int
    load: tuple[float, float]


def statistic(values: Sequence[float], name: str) -> float:
    """Return one time for a point.

    Examples
    --------
    >>> statistic([3.0, 1.0, 2.0], "min"), statistic([3.0, 1.0, 2.0], "median")
    (1.0, 2.0)
    """
    if name == "min":
        return min(values)
    return q20(list(values)) if name == "q20" else median(values)


def profile(run: Run, bursts: Mapping[str, Mapping[int, Any]], where: str) -> MeasuredProfile:
    """Return the profile that bursts make.

    Parameters
    ----------
    run : all that is known beside them.
    bursts : of a journal.
    where : name of the profile, for messages.

    Raises
    ------
    InputError : nothing was measured.
    """
    samples = normalised(bursts)
    tables: dict[str, OpTable] = {}
    known: dict[str, dict[str, Any]] = {}
    priced: dict[str, OpLaw] = {}
    for name in run.plan.ops():
        cases = [case for case in run.plan.cases if case.op == name and samples.by_key.get(case.key)]
        if not any(case.role == TRAIN for case in cases):
            continue
        found = _measured(name, cases, samples, run, priced)
        tables[name], choice = found
        if choice.predict != "composed":
            priced[name] = OpLaw(tables[name], choice.terms, choice.coefficients, choice.predict)
        known[name] = _known(name, cases, samples, run, choice)
    if not tables:
        raise InputError("nothing was measured; want a larger --budget", where)
    return MeasuredProfile(
        where=where,
        model_name=run.shape.name,
        shape_facts={fact: getattr(run.shape, fact) for fact in SHAPE_FACTS},
        device=run.device["name"],
        tp=1,
        software=run.software,
        kind=MEASURED,
        clock={"kind": run.clock, "waiting": "wall", **{f"device_{key}": text for key, text in run.device.items()}},
        provenance=Provenance("simkv calibrate", run.software["simkv"], "own measurement", (), "simkv"),
        skewed="unequal_layer" in tables,
        notes=_notes(run),
        ops=tuple(tables.values()),
        quality=_quality(run, samples, list(known.values())),
    )


def _notes(run: Run) -> dict[str, str]:
    of = run.plan.facts
    notes = {"times": f"of one layer in plain PyTorch, {of.get('dtype', 'dtype not stated')}; random weights"}
    if run.device.get("threads"):
        notes["threads"] = f"{run.device['threads']}: a step that uses more cores takes less wall time"
    if not run.stop.converged:
        notes["stopped"] = run.stop.unmet
    return notes


def rows(name: str, cases: Sequence[Case], samples: Samples, clock: str) -> list[Row]:
    """Return (place on each axis, time) of some points of an operation."""
    how = STATISTIC["wall" if OPS[name].io else clock]
    return [(*case.point, float(f"{statistic(samples.by_key[case.key], how):.{_DIGITS}g}")) for case in cases]


def _measured(
    name: str, cases: Sequence[Case], samples: Samples, run: Run, priced: Mapping[str, OpLaw]
) -> tuple[OpTable, Choice]:
    train = rows(name, [case for case in cases if case.role == TRAIN], samples, run.clock)
    held_out = rows(name, [case for case in cases if case.role == HOLDOUT], samples, run.clock)
    table = OpTable(name, train)
    if not OPS[name].terms:
        return table, _composed(table, priced)
    return table, choose(name, train, held_out, OPS[name].terms)


def _composed(table: OpTable, priced: Mapping[str, OpLaw]) -> Choice:
    """Return how far the measured steps lie from what their parts say, at the one number that joins them."""
    if "prefill_layer" not in priced or "decode_layer" not in priced:
        return Choice("composed")
    decode = priced["decode_layer"]
    said = []
    if table.name == "mixed_layer":
        ratio = mixed_ratio(priced, table)
        for chunk, cached, decodes, context, _ in table.rows:
            parts = priced["prefill_layer"].at((chunk, cached), []) + decode.at((decodes, context), [])
            said.append(ratio * parts)
    else:
        share = longest_share(priced, table)
        for decodes, mean, longest, _ in table.rows:
            mean_s, longest_s = (decode.at((decodes, context), []) for context in (mean, longest))
            said.append(mean_s + share * (longest_s - mean_s))
    return Choice("composed", chosen=errors(said, [row[-1] for row in table.rows]))


def _known(name: str, cases: Sequence[Case], samples: Samples, run: Run, choice: Choice) -> dict[str, Any]:
    planned = [case for case in run.plan.cases if case.op == name]
    visits = [burst for case in cases for burst in samples.bursts[case.key].values()]
    clock = "wall" if OPS[name].io else run.clock
    widths = [half_width(samples.by_key[case.key]) for case in cases]
    middle = float(np.median(widths))
    rotated = OPS[name].group in ("prefill", "decode", "mixed")
    return {
        "name": name,
        "status": "complete" if len(cases) == len(planned) else "partial",
        "clock": clock,
        "statistic": STATISTIC[clock],
        "cache": _CACHE["prefill"] if rotated else _CACHE.get(clock, _HOT),
        "predict": choice.predict,
        "terms": list(choice.terms),
        "coefficients": list(choice.coefficients),
        "condition": choice.condition,
        "holdout": _told(choice.chosen),
        "rejected": [] if choice.rejected is None else [_told(choice.rejected)],
        "repeatability": repeatability([samples.by_key[case.key] for case in cases], STATISTIC[clock]),
        "preempted": round(float(np.mean([burst.preempted for burst in visits])), 4),
        "half_width": round(middle, 4) if np.isfinite(middle) else 1e9,
    }


def _told(found: Errors) -> dict[str, float]:
    return {
        "n": found.n,
        "median": found.median,
        "p95": found.p95,
        "max": found.largest,
        "signed_median": found.signed_median,
    }


def repeatability(values: Sequence[Sequence[float]], how: str) -> dict[str, float]:
    """Return how far the odd rounds lie from the even ones.

    Examples
    --------
    >>> repeatability([[1.0, 2.0, 1.0, 2.0], [1.0]], "min")
    {'n': 1, 'median': 1.0, 'p95': 1.0}
    """
    halves = [(statistic(of[::2], how), statistic(of[1::2], how)) for of in values if len(of) > 1]
    differences = [abs(odd / even - 1) for even, odd in halves]
    if not differences:
        return {"n": 0, "median": 0.0, "p95": 0.0}
    numbers = (float(np.median(differences)), float(np.quantile(differences, 0.95)))
    return {"n": len(differences), "median": round(numbers[0], 6), "p95": round(numbers[1], 6)}


def _quality(run: Run, samples: Samples, known: list[dict[str, Any]]) -> dict[str, Any]:
    preempted = [burst.preempted for rounds in samples.bursts.values() for burst in rounds.values() if not burst.error]
    anchors = []
    for name, values in samples.anchors.items():
        middle = median(values)
        spread = float(np.quantile(values, 0.75) - np.quantile(values, 0.25)) / middle
        anchors.append({"name": name, "t_s": float(f"{middle:.{_DIGITS}g}"), "spread": round(spread, 4)})
    return {
        "run": {
            "plan": run.plan.name,
            "plan_sha256": run.plan.sha256,
            "module_sha256": run.module_sha256,
            "seed": run.seed,
            "rounds": len(samples.factors),
            "seconds": round(run.seconds, 1),
            "converged": run.stop.converged,
            "converged_share": round(run.stop.share, 4),
            "unmet": run.stop.unmet,
            "resumed": run.resumed,
        },
        "load": {
            "before": run.load[0],
            "after": run.load[1],
            "preempted": round(float(np.mean(preempted)), 4) if preempted else 0.0,
            "cores": int(run.device.get("cores", 1)),
            "threads": int(run.device.get("threads", 1)),
        },
        "anchors": anchors,
        "ops": known,
        "samples": {"file": "", "rows": 0, "sha256": ""},
    }
