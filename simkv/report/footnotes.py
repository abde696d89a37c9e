"""What must be said below the table, so that its numbers can be trusted: meanings, marks, caveats, sources."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from simkv.compute.profile import PROFILES
from simkv.report.layout import UNDEFINED, WIDTH, cut
from simkv.statistics import FEWEST_BOOTSTRAPPED

if TYPE_CHECKING:
    from simkv.report.comparison import Comparison
    from simkv.report.summary import Summary

#: One idea a line; docs/glossary.md has the formulas.
DEFINITIONS = (
    "TTFT: first token - arrival, of finished requests; lost: requests rejected, timed out or unfinished, of all "
    "replications, which no mean includes. p50, p99: within a replication (linear interpolation), then averaged.",
    "difference: arm - {baseline}, over the turns finished in both arms.",
    "any hit, complete: share of queries that needed a prefetchable unit and found at least one, or all, brought in "
    "time by speculation; turn 1: any hit of first turns alone; of all: any hit over all queries; ready: share of all "
    "queries with everything resident at arrival.",
    "coverage: needed units that speculation brought, in time or late; accuracy: speculated units that were used; "
    "timely: in time / (in time + late); stall: mean wait for KV that nothing hid.",
    "needed units that were not there in time: late: speculated, under way; evicted: brought and gone; wrong: other "
    "things were speculated for the session; cancelled, refused: speculated and stopped, or found no room; uncreated: "
    "the first query of a session; unpredicted: nothing was speculated.",
    "stall removed: mean stall of {baseline} - that of the arm, over paired turns, and as a share of {baseline}'s.",
    "demand: wire bytes of demand traffic, over all links; in time to open: speculative wire bytes by how they ended "
    "(unused: never used; open: in flight or unasked at the end); wasted = cancelled + evicted + unused; pollution: "
    "demand refetch of what speculation displaced; GPU s: speculative GPU-seconds.",
    "net eff. = saved s x any hit / wasted MB, {dash} at zero waste; saved: TTFT saved against {baseline}, summed over "
    "paired turns of a replication, negative when lost. Nothing is ranked by it.",
)


def footnotes(comparison: Comparison) -> list[str]:
    """Return the lines below the table, wrapped."""
    return [line for note in notes(comparison) for line in textwrap.wrap(note, WIDTH, subsequent_indent="  ")]


def notes(comparison: Comparison) -> list[str]:
    """Return what must be said below the table, one note each."""
    summary = comparison.summary
    words = {"baseline": summary.baseline, "dash": UNDEFINED}
    told = [f"[{number}] {reference}" for reference, number in marks(summary).items()]
    told += [definition.format(**words) for definition in DEFINITIONS]
    told += [_headline(summary), *_regrets(summary), *_certainty(comparison)]
    told.append(f"quality: {quality(summary)}")
    told.append(f"GPU times: {_profiles(comparison.scenario)}{_extrapolated(summary)}")
    return told + _run_notes(comparison)


def marks(summary: Summary) -> dict[str, int]:
    """Return the number of each reason why an arm is no real system."""
    references = dict.fromkeys(arm.info.reference for arm in summary.arms if arm.info.reference)
    return {reference: number for number, reference in enumerate(references, start=1)}


def _headline(summary: Summary) -> str:
    if summary.best is None:
        return "N x: not quoted; no arm is both feasible and without speculation."
    exact = "" if all(arm.info.is_exact for arm in summary.arms) else " and codec"
    return (
        f"N x = mean TTFT of {summary.best} / mean TTFT of the arm, over the turns finished in both; {summary.best} "
        f"has the lowest mean TTFT of the feasible arms without speculation{exact}."
    )


def _regrets(summary: Summary) -> list[str]:
    """Return what regrets mean and which arms they are measured against; nothing where there are none."""
    against: dict[str, None] = {}
    for regret in (regret for arm in summary.arms for regret in arm.regrets.values()):
        if regret.reference is not None:
            against[regret.reference] = None
    if not against:
        return []
    return [
        "regret: mean TTFT of the arm - that of the fastest arm that differs from it in prefetch and predictor alone "
        "and knows the next turn, or in eviction alone and knows the recorded order of use: a reference point, no "
        f"bound. Here: {', '.join(against)}."
    ]


def _certainty(comparison: Comparison) -> list[str]:
    summary = comparison.summary
    if comparison.replications == 1:
        notes = ["One replication: no interval can be given, and any difference may be chance."]
    else:
        notes = [
            "+- and [ ]: 95 % intervals over replications (means and paired differences: Student; ratios: "
            f"{_ratio_method(comparison)}); * differs from {summary.baseline} at 5 % by Holm's correction over "
            f"{len(summary.p_holm)} arms."
        ]
    unpaired = {arm.info.name: arm.unpaired for arm in summary.arms if arm.unpaired}
    if unpaired:
        told = ", ".join(f"{name} {count}" for name, count in unpaired.items())
        notes.append(f"Turns left out of differences because they did not finish in both arms: {told}.")
    return notes


def _ratio_method(comparison: Comparison) -> str:
    return "paired bootstrap" if comparison.replications >= FEWEST_BOOTSTRAPPED else "Student, of the logarithm"


def quality(summary: Summary) -> str:
    """Return one text when all arms agree, else who says what (semantics F4)."""
    told: dict[str, list[str]] = {}
    for arm in summary.arms:
        told.setdefault(" / ".join(map(str, arm.quality)) or "not modelled", []).append(arm.info.name)
    if len(told) == 1:
        return next(iter(told))
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in told.items())


def _profiles(scenario: Any) -> str:
    gpus = {name: server.gpu for name, server in scenario.servers.items()}
    return ", ".join(f"{name} {_labelled(gpu.name)}" for name, gpu in gpus.items() if gpu is not None) or "none"


def _labelled(name: str) -> str:
    """Return the name of a profile, and what its times are where the name does not say it."""
    label = getattr(PROFILES.get(name), "label", "")
    return name if label in name or name in label else f"{name} ({label})"


def _extrapolated(summary: Summary) -> str:
    shares = [arm.metrics["extrapolated_time_ratio"].value or 0.0 for arm in summary.arms]
    return f"; up to {max(shares):.1%} priced outside a profile's measured range" if max(shares) else ""


def _run_notes(comparison: Comparison) -> list[str]:
    """Return what the runs noted, quality apart: once where they agree, as a range where numbers differ."""
    names = dict.fromkeys(name for run in comparison.results for name in run.notes if name != "quality")
    found = {name: [run.notes[name] for run in comparison.results if name in run.notes] for name in names}
    return [f"{name.replace('_', ' ')}: {_agreed(values)}" for name, values in found.items()]


def _agreed(values: Sequence[Any]) -> str:
    told = list(dict.fromkeys(v if isinstance(v, str) else json.dumps(v, default=str) for v in values))
    if len(told) == 1:
        return told[0]
    numbers = [v for v in values if isinstance(v, int | float)]
    if len(numbers) == len(values):
        return f"{min(numbers):.6g} to {max(numbers):.6g} by run"
    return cut("; ".join(told), 3 * WIDTH)
