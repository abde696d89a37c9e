"""What a page shows of a replication played again: sums over objects, averages over time, nothing where nothing was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simkv.forecasts import Reliability, Reliable
from simkv.recording import ArmRecording, Recording
from simkv.report.comparison import ArmInfo
from simkv.report.page_played import _curve, of_forecasts, of_recording
from simkv.results import BUFFER_QUANTITIES, SAMPLE_COLUMNS, SPAN_COLUMNS
from simkv.statistics import Estimate

ARMS = (ArmInfo("none"), ArmInfo("<b>", "threshold"))


def arm_of(name: str, samples: list[tuple[float, str, str, float]]) -> ArmRecording:
    names = [column for column in SAMPLE_COLUMNS if column not in ("arm", "replication")]
    spans: dict[str, list[Any]] = {column: [] for column in SPAN_COLUMNS if column not in ("arm", "replication")}
    return ArmRecording(name, 0, spans, {column: [row[i] for row in samples] for i, column in enumerate(names)})


def recording(*arms: ArmRecording) -> Recording:
    return Recording("synthetic", 7, 0, list(arms), (0.0, 600.0), 600.0, 1, 1, ["none"])


def test_a_curve_is_the_sum_over_objects_averaged_over_steps() -> None:
    """Two links of 1 and 2 bit/s, of which the second falls silent half-way; a backlog is no use."""
    samples = [(float(t), "a", "demand_bps", 1.0) for t in range(600)]
    samples += [(float(t), "b", "speculative_bps", 2.0 * (t < 300)) for t in range(600)]
    samples += [(float(t), "b", "backlog_bytes", 99.0) for t in range(600)]
    times, values = _curve(arm_of("none", samples), "use")
    np.testing.assert_allclose(times, np.arange(60) * 10 + 4.5)
    np.testing.assert_allclose(values, [3.0] * 30 + [1.0] * 30)


def test_few_instants_are_shown_as_they_are() -> None:
    times, values = _curve(arm_of("none", [(0.0, "ue", "used_bytes", 5.0), (9.0, "ue", "used_bytes", 7.0)]), "fill")
    assert (times.tolist(), values.tolist()) == ([0.0, 9.0], [5.0, 7.0])


def test_each_part_is_there_where_it_has_something_to_say() -> None:
    silent = arm_of("none", [(0.0, "a", "demand_bps", 0.0)])
    held = [(float(t), "ue", name, 2e9) for t in range(3) for name in BUFFER_QUANTITIES]
    full = arm_of("<b>", held)
    assert [section.name for section in of_recording(recording(silent), ARMS)] == ["timeline"]
    fill, timeline = of_recording(recording(silent, full), ARMS)
    assert (fill.name, fill.arms, timeline.is_wide) == ("fill", (0, 1), True)
    assert "&lt;b&gt; up to 2.0 GB" in fill.body
    assert "<b>" not in fill.body


def test_probabilities_are_drawn_for_those_who_said_some() -> None:
    bins = (Reliable(9, 0.2, Estimate(0.1, 0.0, 0.3, 4)), Reliable(3, 0.9, Estimate(1.0)))
    (section,) = of_forecasts(
        [Reliability("<b>", "markov", 12, 0.1, bins), Reliability("none", "x", 0, None, ())], 0, ARMS
    )
    assert section.arms == (1,)
    assert 'data-arm="1"' in section.body
    assert 'data-arm="0"' not in section.body
    assert "<b> (markov) ECE 0.100" in section.caption
    assert list(of_forecasts([], 0, ARMS)) == []


@pytest.mark.parametrize("low", [0.4, None])
def test_an_interval_is_drawn_where_there_is_one(low: float | None) -> None:
    made = Reliable(5, 0.5, Estimate(0.5, low, None if low is None else 0.6))
    (section,) = of_forecasts([Reliability("none", "markov", 5, 0.0, (made,))], 0, ARMS)
    bare = Reliable(5, 0.5, Estimate(0.5))
    (without,) = of_forecasts([Reliability("none", "markov", 5, 0.0, (bare,))], 0, ARMS)
    assert (section.body == without.body) == (low is None)
