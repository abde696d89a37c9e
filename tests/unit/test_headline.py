"""The sentences on top of a page: what they claim holds, and what cannot be claimed is not."""

from __future__ import annotations

import dataclasses

import pytest

from simkv.report.comparison import ArmInfo, Comparison
from simkv.report.headline import headline
from tests.unit.synthetic_runs import comparison, request, run_of, scenario


def said(found: Comparison) -> str:
    return " ".join(headline(found))


def two_arms(fast_s: list[float], slow_s: list[float], **fast: object) -> Comparison:
    """Return two arms of one request a replication; the first does not speculate."""
    arms = (ArmInfo("none"), dataclasses.replace(ArmInfo("mine", "threshold"), **fast))  # type: ignore[arg-type]
    runs = [
        run_of([request(0, 0, ttft_s)], arm.name, i)
        for arm, times in zip(arms, (slow_s, fast_s), strict=True)
        for i, ttft_s in enumerate(times)
    ]
    return Comparison(scenario(["none"]), arms, runs, 7, len(fast_s))


def test_the_winner_is_the_fastest_that_could_be_built() -> None:
    """References are faster here, and are named apart."""
    found = comparison(replications=10)
    text = said(found)
    contrast = found.summary.contrast("threshold", found.summary.best)
    assert contrast is not None
    assert text.startswith("Of 5 arms that a real system could be, threshold has the lowest mean time to first token: ")
    assert f"{contrast.ratio.value:.2f} [" in text
    assert "x against none, the best arm without speculation." in text
    assert "Its lead over each of the others is more than chance" in text
    assert "no real system could be: oracle (reference point: knows the next turn)" in text


def test_a_lead_that_may_be_chance_is_called_so() -> None:
    """Paired differences of +-1 around a small gain: the interval of the ratio holds 1."""
    text = said(two_arms([1.0, 3.0, 1.0, 2.9], [2.0, 2.0, 2.0, 2.0]))
    assert "mine has the lowest mean" in text
    assert "an interval that includes 1" in text
    assert "It cannot be told apart from none" in text


def test_noise_that_both_arms_share_hides_no_lead() -> None:
    """Pairing decides: the arms' own intervals overlap widely, their difference is always the same."""
    text = said(two_arms([1.0, 5.0, 9.0, 13.0], [1.5, 5.5, 9.5, 13.5]))
    assert "more than chance" in text


def test_no_ratio_without_an_arm_that_it_may_be_quoted_against() -> None:
    text = said(comparison(["threshold", "sequential", "oracle"], replications=3))
    assert "so no N x is quoted" in text
    assert " x against" not in text


def test_a_winner_that_does_not_speculate_says_so() -> None:
    text = said(two_arms([3.0, 3.1, 3.2], [1.0, 1.1, 1.2]))
    assert "none has the lowest mean" in text
    assert "It does not speculate: no speculation beats it here." in text


def test_where_nobody_speculates_nothing_is_said_of_it() -> None:
    """Routing policies are compared without any prefetch."""
    arms = (ArmInfo("round-robin"), ArmInfo("sticky"))
    runs = [run_of([request(0, 0, s)], arm.name) for arm, s in zip(arms, (2.0, 1.0), strict=True)]
    text = said(Comparison(scenario(["none"]), arms, runs, 7, 1))
    assert "sticky has the lowest mean" in text
    assert "speculat" not in text


def test_a_lossy_winner_is_not_left_alone() -> None:
    """What it does to answers is said, and who is fastest without."""
    text = said(two_arms([1.0, 1.1, 1.2], [3.0, 3.1, 3.2], is_exact=False))
    assert "mine codes KV with loss; its answer quality is not modelled." in text
    assert "Of the arms that move KV as it is, none has the lowest mean: 3.10 " in text


def test_who_loses_its_slow_requests_does_not_win_by_that() -> None:
    """Arms are ranked over the turns finished in all of them: the survivors of `mine` were fast everywhere."""
    arms = (ArmInfo("none"), ArmInfo("mine", "threshold"))
    runs = []
    for i in range(3):
        runs.append(run_of([request(0, 0, 0.5), request(0, 1, 9.0)], "none", i))
    for i in range(3):
        runs.append(run_of([request(0, 0, 1.0), request(0, 1, None)], "mine", i))
    assert said(Comparison(scenario(["none"]), arms, runs, 7, 3)).startswith(
        "Of 2 arms that a real system could be, none has"
    )


@pytest.mark.parametrize("rows", [[], [request(0, 0, None)]])
def test_nothing_finished_claims_nothing(rows: list[dict[str, object]]) -> None:
    found = Comparison(scenario(["none"]), (ArmInfo("none"),), [run_of(rows)], 7, 1)
    assert headline(found) == ["No request finished in any arm, so there is nothing to compare."]
