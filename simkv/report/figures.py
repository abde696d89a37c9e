"""The two figures of every comparison: how long people wait, and where the bytes went.

Matplotlib's object interface only: no global state, nothing shown, equal comparisons draw equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter

from simkv.metrics import Floats, Observed
from simkv.statistics import student_quantile
from simkv.units import format_seconds

if TYPE_CHECKING:
    from simkv.report.comparison import ArmInfo, Comparison
    from simkv.report.summary import ArmSummary

#: Okabe and Ito's colours (Color Universal Design, 2008), told apart with any common colour blindness; yellow, too
#: pale for a line on white, is left out.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_DASHES = ("-", "--", "-.")
_REFERENCES = (("#000000", ":"), ("#7A7A7A", (0, (4, 1.5, 1, 1.5, 1, 1.5))), ("#404040", (0, (1, 4))))


class Bar(NamedTuple):
    """One part of every arm's bar.

    Attributes
    ----------
    totals : one an arm, over all replications.
    hatch : as Matplotlib has it; "" = none.
    """

    label: str
    totals: Sequence[float]
    colour: str
    hatch: str


#: Bars from the left: label, outcomes, colour, hatch. Waste is warm and hatched: it reads without colour too.
_OUTCOMES = (
    ("used in time", ("used_in_time",), "#0072B2", ""),
    ("used late", ("used_late",), "#56B4E9", ""),
    ("open at end", ("in_flight_at_end", "resident_at_end"), "#009E73", ""),
    ("cancelled", ("cancelled",), "#F0E442", "//"),
    ("evicted unasked", ("evicted",), "#E69F00", "xx"),
    ("never used", ("never_used",), "#D55E00", "\\\\"),
)
_DEMAND_COLOUR = "#BBBBBB"
_OTHER_COLOUR = "#EEEEEE"

_CURVE_POINTS = 1000  # a curve of more is the same picture in a larger file

STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "hatch.linewidth": 0.6,
    "svg.hashsalt": "simkv",  # ids in the SVG would else be random
    "svg.fonttype": "none",
}
_LOG_SPREAD = 20  # p99 / p1 from which a linear axis hides the short waits


def literal(text: str) -> str:
    r"""Return a text that Matplotlib draws as it is, though it has dollars, which would make a formula of it.

    Examples
    --------
    >>> print(literal("$a$"))
    \$a\$
    """
    return text.replace("$", "\\$")


def ttft_cdf(comparison: Comparison) -> Figure:
    """Return the share of all requests that had their first token within t, by arm.

    Requests that never finished count in the share's denominator: such a curve ends below 1. The band is the
    95 % Student interval of the share over replications, at each t alone.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.8), layout="constrained")
        axes = figure.add_subplot()
        draw_ttft_cdf(axes, comparison)
        pooled = f" ({comparison.replications} replications pooled)" if comparison.replications > 1 else ""
        axes.set_title(f"{literal(comparison.scenario.name)}: who waits how long{pooled}", loc="left")
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def draw_ttft_cdf(axes: Axes, comparison: Comparison, points: int = _CURVE_POINTS) -> None:
    """Draw one curve an arm and its band; each is in the group (SVG) of its arm's place, `arm-0` and up.

    Parameters
    ----------
    points : about so many of each curve.
    """
    waits = {arm.name: _waits(comparison, arm) for arm in comparison.arms}
    for place, (arm, style) in enumerate(arm_styles(comparison.arms)):
        runs = waits[arm.name]
        times_s, share = _steps(np.sort(np.concatenate([t for t, _ in runs])), sum(n for _, n in runs), points)
        label = literal(f"{arm.name} (reference)" if arm.reference else arm.name)
        axes.plot(times_s, share, drawstyle="steps-post", label=label, gid=f"arm-{place}", **style)
        if len(runs) > 1 and times_s.size:
            low, high = _band(times_s, runs)
            look: Any = {"color": style["color"], "alpha": 0.18, "linewidth": 0, "step": "post", "zorder": 1}
            axes.fill_between(times_s, low, high, gid=f"arm-{place}", **look)
    _time_axis(axes, np.concatenate([times_s for runs in waits.values() for times_s, _ in runs]))
    axes.set(ylim=(0, 1.01), ylabel="share of requests")


def where_bytes_went(comparison: Comparison) -> Figure:
    """Return the wire bytes of each arm, a replication: demand, and speculation by how it ended."""
    arms = comparison.summary.arms
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 1.9 + 0.42 * len(arms)), layout="constrained")
        axes = figure.add_subplot()
        left = np.zeros(len(arms))
        for label, parts, colour, hatch in bars_of_bytes(arms):
            widths = np.array(parts, dtype=np.float64) / comparison.replications
            if widths.any():
                axes.barh(
                    range(len(arms)),
                    widths,
                    left=left,
                    color=colour,
                    hatch=hatch,
                    label=label,
                    edgecolor="#333333",
                    linewidth=0.5,
                    height=0.7,
                )
                left += widths
        names = [f"{arm.info.name} (reference)" if arm.info.reference else arm.info.name for arm in arms]
        axes.set_yticks(range(len(arms)), list(map(literal, names)))
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_formatter(EngFormatter(unit="B"))
        axes.set_xlabel("wire bytes a replication, summed over links")
        axes.set_title(f"{literal(comparison.scenario.name)}: where the bytes went", loc="left")
        if left.any():
            axes.set_xlim(0, 1.14 * left.max())  # room for the totals, which show bars too short to see
            total = EngFormatter(unit="B", places=1)
            for row, width in enumerate(left):
                axes.annotate(total(width), (width, row), (4, 0), textcoords="offset points", va="center", fontsize=9)
            figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def save_all(comparison: Comparison, folder: Path) -> list[Path]:
    """Write every figure as PNG and SVG, and return the files.

    Parameters
    ----------
    folder : made when absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, draw in (("ttft_cdf", ttft_cdf), ("bytes", where_bytes_went)):
        figure = draw(comparison)
        with mpl.rc_context(STYLE):
            for kind in ("png", "svg"):
                path = folder / f"{name}.{kind}"
                # no date in the file: equal comparisons write equal bytes
                figure.savefig(path, dpi=150, metadata={"Date": None} if kind == "svg" else {"Software": "simkv"})
                written.append(path)
    return written


def _waits(comparison: Comparison, arm: ArmInfo) -> list[tuple[Floats, int]]:
    """Return of each replication the sorted TTFT of what finished, and how many requests there were."""
    runs = [Observed.of(run) for run in comparison.runs(arm.name)]
    return [(np.sort(run.ttft_s[run.finished]), run.key.size) for run in runs]


def _band(times_s: Floats, runs: list[tuple[Floats, int]]) -> tuple[Floats, Floats]:
    """Return the ends of the interval of the share that had its first token within each time."""
    shares = np.array([np.searchsorted(known, times_s, side="right") / max(1, total) for known, total in runs])
    half = student_quantile(len(runs)) * shares.std(axis=0, ddof=1) / np.sqrt(len(runs))
    return np.clip(shares.mean(axis=0) - half, 0, 1), np.clip(shares.mean(axis=0) + half, 0, 1)


def arm_styles(arms: tuple[ArmInfo, ...]) -> Iterator[tuple[ArmInfo, dict[str, Any]]]:
    """Yield each arm's line: feasible arms in colour, references in black and grey."""
    feasible = references = 0
    for arm in arms:
        if arm.reference:
            colour, dash = _REFERENCES[references % len(_REFERENCES)]
            yield arm, {"color": colour, "linestyle": dash, "linewidth": 1.8}
            references += 1
        else:
            dash = _DASHES[(feasible + feasible // len(PALETTE)) % len(_DASHES)]
            yield arm, {"color": PALETTE[feasible % len(PALETTE)], "linestyle": dash, "linewidth": 1.8}
            feasible += 1


def _steps(times_s: Floats, total: int, points: int) -> tuple[Floats, Floats]:
    if not times_s.size:
        return np.empty(0), np.empty(0)
    ranks = np.unique(np.linspace(0, times_s.size - 1, min(times_s.size, points)).astype(np.int64))
    return np.append(times_s[:1], times_s[ranks]), np.append(0.0, (ranks + 1) / total)


def _time_axis(axes: Axes, times_s: Floats) -> None:
    if times_s.size and times_s.min() > 0:
        low, high = np.percentile(times_s, [1, 99])
        if high > _LOG_SPREAD * low:
            axes.set_xscale("log")
    if axes.get_xscale() == "log":
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value_s, _: format_seconds(value_s)))
        axes.set_xlabel("time to first token (logarithmic)")
    else:
        axes.set_xlim(left=0)
        axes.set_xlabel("time to first token [s]")


def bars_of_bytes(arms: tuple[ArmSummary, ...]) -> Iterator[Bar]:
    """Yield what becomes of wire bytes, from the left of a bar: demand, speculation by how it ended, the rest."""
    demand = [arm.link_bytes.get("demand", 0) for arm in arms]
    yield Bar("demand", demand, _DEMAND_COLOUR, "")
    for label, outcomes, colour, hatch in _OUTCOMES:
        yield Bar(label, [sum(arm.speculative_bytes[o] for o in outcomes) for arm in arms], colour, hatch)
    carried = [sum(arm.link_bytes.values()) for arm in arms]
    other = [c - d - sum(arm.speculative_bytes.values()) for arm, c, d in zip(arms, carried, demand, strict=True)]
    yield Bar("control, other", [max(0, o) for o in other], _OTHER_COLOUR, "..")


def bars_of_gpu_s(comparison: Comparison) -> Iterator[Bar]:
    """Yield what GPUs spent their time on, from the left of a bar: demand, speculation by how it ended."""
    arms = comparison.summary.arms
    demand = [sum(gpu.demand_s for run in comparison.runs(arm.info.name) for gpu in run.gpus.values()) for arm in arms]
    yield Bar("demand", demand, _DEMAND_COLOUR, "")
    for label, outcomes, colour, hatch in _OUTCOMES:
        yield Bar(label, [sum(arm.speculative_gpu_s[o] for o in outcomes) for arm in arms], colour, hatch)
