"""Parts of a page that come from playing a replication again: forecasts, links and buffers over time, the timeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from simkv.metrics import Floats
from simkv.report.comparison import ArmInfo
from simkv.report.figures import arm_styles
from simkv.report.page import Section
from simkv.report.page_figures import panel
from simkv.report.svg import inline
from simkv.report.timeline import timeline_fragment

if TYPE_CHECKING:
    from simkv.forecasts import Reliability
    from simkv.recording import ArmRecording, Recording

_STEPS = 60  # of time in a curve; what is sampled in one is averaged
_CLASSES = ("demand_bps", "speculative_bps", "background_bps", "shared_bps")


def of_recording(recording: Recording, arms: Sequence[ArmInfo]) -> Iterator[Section]:
    """Yield links and buffers over time, and the timeline.

    Parameters
    ----------
    arms : of the page, in its order.
    """
    which = f"Replication {recording.replication}, a {_STEPS}th of the time averaged in each step."
    for key, title, label, told in (
        ("use", "Use of links", "bit/s", "What all links carry together"),
        ("fill", "Fill of buffers", "B", "What all buffers hold together, sources included"),
    ):
        curves = {arm.arm: _curve(arm, key) for arm in recording.arms}
        if not any(values.any() for _, values in curves.values()):
            continue
        with panel() as (figure, axes):
            _draw(axes, curves, arms)
            axes.yaxis.set_major_formatter(EngFormatter(unit=label))
        peak = EngFormatter(unit=label, places=1)
        peaks = "; ".join(f"{name} up to {peak(values.max(initial=0.0))}" for name, (_, values) in curves.items())
        drawn = inline(figure, key, f"{told}, over time: {peaks}.")
        yield Section(key, title, drawn, f"{told}. {which}", arms=_places(curves, arms))
    body = Markup(timeline_fragment(recording, [arm.name for arm in arms]))
    note = f"Replication {recording.replication}, seed {recording.seed}: all of it but what is said to be left out."
    yield Section("timeline", "Who did what when", body, note, is_wide=True)


def of_forecasts(found: Sequence[Reliability], replication: int, arms: Sequence[ArmInfo]) -> Iterator[Section]:
    """Yield what probabilities were worth; nothing where nobody said any."""
    known = {each.arm: each for each in found if each.bins}
    if not known:
        return
    with panel() as (figure, axes):
        axes.plot([0, 1], [0, 1], color="#7A7A7A", linewidth=1)
        for place, (arm, style) in enumerate(arm_styles(tuple(arms))):
            if arm.name in known:
                _draw_bins(axes, known[arm.name], style, f"arm-{place}")
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="said probability", ylabel="share that came true")
    told = "; ".join(f"{each.arm} ({each.predictor}) ECE {each.ece:.3f}" for each in known.values())
    caption = (
        f"What predictors said of the next query and how often it came true, replication {replication}; the grey line "
        f"is perfect. Bars: 95 % intervals, sessions resampled. Expected calibration error (ECE): {told}."
    )
    drawn = inline(figure, "reliability", f"Said probability against share that came true. {told}.")
    yield Section("reliability", "Do probabilities come true?", drawn, caption, arms=_places(known, arms))


def _places(known: Mapping[str, object], arms: Sequence[ArmInfo]) -> tuple[int, ...]:
    return tuple(place for place, arm in enumerate(arms) if arm.name in known)


def _draw_bins(axes: Axes, told: Reliability, style: dict[str, Any], group: str) -> None:
    x = [each.forecast for each in told.bins]
    y = [each.frequency.value or 0.0 for each in told.bins]
    ends = [each.frequency.interval or [middle, middle] for each, middle in zip(told.bins, y, strict=True)]
    reach = [[middle - low for middle, (low, _) in zip(y, ends, strict=True)]]
    reach += [[high - middle for middle, (_, high) in zip(y, ends, strict=True)]]
    look: Any = {"marker": "o", "markersize": 4, "elinewidth": 0.9} | style
    drawn = axes.errorbar(x, y, yerr=np.maximum(reach, 0), **look)
    for artist in drawn.get_children():
        artist.set_gid(group)


def _draw(axes: Axes, curves: dict[str, tuple[Floats, Floats]], arms: Sequence[ArmInfo]) -> None:
    for place, (arm, style) in enumerate(arm_styles(tuple(arms))):
        if arm.name in curves:
            axes.plot(*curves[arm.name], gid=f"arm-{place}", **style | {"linewidth": 1.3})
    axes.set(xlabel="time [s]", ylim=(0, None))
    axes.margins(x=0)


def _curve(arm: ArmRecording, key: str) -> tuple[Floats, Floats]:
    """Return times [s] and the sum over all objects, in at most `_STEPS` steps."""
    wanted = _CLASSES if key == "use" else ("used_bytes",)
    totals: dict[float, float] = {}
    rows = zip(arm.samples["time_s"], arm.samples["quantity"], arm.samples["value"], strict=True)
    for time_s, quantity, value in rows:
        if quantity in wanted:
            totals[time_s] = totals.get(time_s, 0.0) + value
    times, values = np.array(list(totals), dtype=np.float64), np.array(list(totals.values()), dtype=np.float64)
    parts = min(_STEPS, times.size)
    if not parts:
        return times, values
    return (
        np.array([part.mean() for part in np.array_split(times, parts)]),
        np.array([part.mean() for part in np.array_split(values, parts)]),
    )
