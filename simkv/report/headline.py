"""What does a comparison say, in a few sentences that may be quoted: who wins, by how much, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from simkv.metrics import Observed, paired
from simkv.report.layout import decimals, with_interval
from simkv.report.summary import fastest
from simkv.statistics import LEVEL, holm, p_value
from simkv.units import format_bytes

if TYPE_CHECKING:
    from simkv.report.comparison import Comparison
    from simkv.report.summary import ArmSummary, Contrast, Summary

_NOTHING = "No request finished in any arm, so there is nothing to compare."


def headline(comparison: Comparison) -> list[str]:
    """Return the sentences, the first one the most important.

    Returns
    -------
    "N x" is quoted against the best feasible arm that does not speculate, as in the table, and against nothing else.
    """
    return list(_sentences(comparison))


def fastest_of(comparison: Comparison, arms: Sequence[ArmSummary]) -> ArmSummary | None:
    """Return the arm with the lowest mean TTFT over the turns finished in all of these; None where none finished."""
    finished = [arm for arm in arms if arm.requests["finished"]]
    seen = {arm.info.name: [Observed.of(run) for run in comparison.runs(arm.info.name)] for arm in finished}
    name = fastest(list(seen), seen)
    return next((arm for arm in finished if arm.info.name == name), None)


def _sentences(comparison: Comparison) -> Iterator[str]:
    summary = comparison.summary
    if not any(arm.requests["finished"] for arm in summary.arms):
        yield _NOTHING
        return
    feasible = [arm for arm in summary.arms if not arm.info.reference]
    winner = fastest_of(comparison, feasible)
    if winner is None:
        yield "No arm that a real system could be finished a request; references alone say nothing of one."
        return
    yield _first(summary, winner, len(feasible))
    if len(feasible) > 1:
        yield _certainty(comparison, winner, feasible)
    if not winner.info.is_exact:
        yield _of_full_quality(comparison, winner, feasible)
    yield from _references(summary)
    if any(winner.link_bytes.values()):
        yield _moved(comparison, winner)


def _first(summary: Summary, winner: ArmSummary, count: int) -> str:
    name = winner.info.name
    told = f"mean time to first token {_seconds(winner)}"
    if count == 1:
        alone = "is the only arm" if len(summary.arms) == 1 else "is the only arm that a real system could be"
        return f"{name} {alone}: {told}; there is nothing to compare it with."
    lead = f"Of {count} arms that a real system could be, {name} has the lowest mean time to first token: "
    lead += _seconds(winner)
    if summary.best is None:
        return f"{lead}. No arm is both feasible and without speculation, so no N x is quoted."
    if name == summary.best:
        rivals = any(arm.info.is_speculative and not arm.info.reference for arm in summary.arms)
        return f"{lead}. It does not speculate: no speculation beats it here." if rivals else f"{lead}."
    return f"{lead}, {_against(summary, name)}."


def _against(summary: Summary, name: str) -> str:
    contrast = summary.contrast(name, summary.best)
    assert contrast is not None
    told = f"{with_interval(contrast.ratio, 2)} x against {summary.best}, the best arm without speculation"
    if not all(arm.info.is_exact for arm in summary.arms):
        told += " or codec"
    return told + ("" if _is_shown(contrast) else ", an interval that includes 1")


def _is_shown(contrast: Contrast) -> bool:
    interval = contrast.ratio.interval
    return interval is None or not interval[0] <= 1 <= interval[1]


def _certainty(comparison: Comparison, winner: ArmSummary, feasible: list[ArmSummary]) -> str:
    """Say which arms the winner cannot be told apart from, by paired differences and Holm's correction."""
    if comparison.replications == 1:
        return "One replication: no interval can be given, and any difference may be chance."
    ours = [Observed.of(run) for run in comparison.runs(winner.info.name)]
    others = [arm.info.name for arm in feasible if arm is not winner]
    p_values = [p_value(_differences_s(comparison, name, ours)) for name in others]
    open_ = [name for name, p in zip(others, holm(p_values), strict=True) if p is None or p >= 1 - LEVEL]
    if open_:
        return f"It cannot be told apart from {_listed(open_)} (paired differences, Holm's correction, 5 %)."
    return "Its lead over each of the others is more than chance (paired differences, Holm's correction, 5 %)."


def _differences_s(comparison: Comparison, name: str, ours: list[Observed]) -> list[float | None]:
    """Return of each replication the difference of mean TTFT over the turns finished in both."""
    found: list[float | None] = []
    for run, mine in zip(comparison.runs(name), ours, strict=True):
        pair = paired(Observed.of(run), mine)
        a, b = pair.arm["ttft_s.mean"], pair.baseline["ttft_s.mean"]
        found.append(None if a is None or b is None else a - b)
    return found


def _of_full_quality(comparison: Comparison, winner: ArmSummary, feasible: list[ArmSummary]) -> str:
    summary = comparison.summary
    quality = " / ".join(map(str, winner.quality)) or "not modelled"
    told = f"{winner.info.name} codes KV with loss; its answer quality is {quality}"
    exact = fastest_of(comparison, [arm for arm in feasible if arm.info.is_exact])
    if exact is None:
        return f"{told}."
    found = f"{told}. Of the arms that move KV as it is, {exact.info.name} has the lowest mean: {_seconds(exact)}"
    return f"{found}." if exact.info.name == summary.best else f"{found}, {_against(summary, exact.info.name)}."


def _references(summary: Summary) -> Iterator[str]:
    told = [f"{arm.info.name} ({arm.info.reference}) {_seconds(arm)}" for arm in summary.arms if arm.info.reference]
    if told:
        yield f"For reference, what no real system could be: {_listed(told)}."


def _moved(comparison: Comparison, winner: ArmSummary) -> str:
    total = sum(winner.link_bytes.values()) / comparison.replications
    wasted = winner.wasted_bytes / comparison.replications
    told = f"{winner.info.name} moves {format_bytes(total)} over all links a replication"
    if not winner.info.is_speculative:
        return f"{told}."
    return f"{told}, {format_bytes(wasted)} of it wasted." if wasted else f"{told}, none of it wasted."


def _seconds(arm: ArmSummary) -> str:
    estimate = arm.metrics["ttft_s.mean"]
    return "undefined" if estimate.value is None else f"{with_interval(estimate, decimals([estimate.value]))} s"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
