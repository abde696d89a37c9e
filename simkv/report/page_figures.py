"""Figures that pages of runs and of sweeps share, and the size that they are drawn in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simkv.report import pareto as fronts
from simkv.report.figures import STYLE
from simkv.report.page import Section
from simkv.report.svg import inline

if TYPE_CHECKING:
    import pandas as pd

WIDTH_IN, HEIGHT_IN = 4.7, 3.3  # small, so that letters can be read on a phone


@contextmanager
def panel(height_in: float = HEIGHT_IN) -> Iterator[tuple[Figure, Axes]]:
    """Give a figure of one panel, in the style of all figures."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        yield figure, figure.add_subplot()


def pareto(points: pd.DataFrame, within: Sequence[str], places: tuple[int, ...]) -> Section:
    """Return mean TTFT against bytes moved.

    Parameters
    ----------
    within : paths that nobody chooses: one front for each combination of their values.
    places : of the arms that its legend names.
    """
    with panel() as (figure, axes):
        fronts.draw(axes, points, "ttft_s.mean", within=within)
    best = fronts.front(points, ("link_bytes", "ttft_s.mean"), within)
    names = ", ".join(dict.fromkeys(best["arm"]))
    caption = (
        "Line: the front, which nothing that a real system could be beats in both; crosses: 95 % intervals. Hollow: "
        "references. Bytes are those of all links, a replication."
    )
    if within:
        caption += f" One front for each value of {', '.join(within)}."
    told = f"Mean time to first token against bytes moved. On the front: {names or 'nobody'}."
    return Section("pareto", "Time against bytes moved", inline(figure, "pareto", told), caption, arms=places)
