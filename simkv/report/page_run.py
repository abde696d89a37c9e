"""What the page of a run says: sentences, tables, figures, bars, notes and where it all comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from simkv.report import bars, page_figures, tables
from simkv.report.comparison import Comparison
from simkv.report.figures import arm_styles, draw_ttft_cdf
from simkv.report.footnotes import marks, notes
from simkv.report.headline import headline
from simkv.report.page import Section
from simkv.report.reading import SavedRun
from simkv.report.rows import points_of
from simkv.report.svg import INKS, inline
from simkv.results import STATUSES
from simkv.units import format_seconds

_CURVE_POINTS = 240
_MOST_DECIMALS = 3


def context(saved: SavedRun, played: Sequence[Section]) -> dict[str, Any]:
    """Return what the template shows."""
    comparison = saved.comparison
    return {
        "title": comparison.scenario.name,
        "told": tables.heading(comparison).removeprefix(f"{comparison.scenario.name}: "),
        "sentences": headline(comparison),
        "warnings": list(warnings(comparison)),
        "arms": legend(comparison),
        "tables": list(_tables(comparison)),
        "figures": list(_figures(comparison)),
        "bars": [chart for chart in (bars.of_bytes(comparison), bars.of_gpu_s(comparison)) if chart["legend"]],
        "played": list(played),
        "notes": [note.replace("+-", "±") for note in notes(comparison)],
        "manifest": saved.manifest,
    }


def warnings(comparison: Comparison) -> Iterator[str]:
    """Yield what a reader must know before any number."""
    summary = comparison.summary
    for status in STATUSES[1:]:
        lost = {arm.info.name: arm.requests[status] for arm in summary.arms if arm.requests[status]}
        if lost:
            told = ", ".join(f"{name} {count:,} of {sum(_counts(comparison, name)):,}" for name, count in lost.items())
            yield f"Requests {status.replace('_', ' ')}, which no mean includes: {told}."
    if comparison.replications == 1:
        yield "One replication: no interval can be given, and any difference may be chance."
    shares = {arm.info.name: arm.metrics["extrapolated_time_ratio"].value or 0.0 for arm in summary.arms}
    if max(shares.values(), default=0.0):
        told = ", ".join(f"{name} {share:.1%}" for name, share in shares.items() if share)
        yield f"GPU time priced outside the measured range of its profile: {told}."
    references = {arm.info.name: arm.info.reference for arm in summary.arms if arm.info.reference}
    if references:
        told = "; ".join(f"{name}: {why}" for name, why in references.items())
        yield f"Arms that no real system could be stand in the tables for reference: {told}."


def legend(comparison: Comparison) -> list[dict[str, Any]]:
    """Return each arm's name, mark, and the look of its line."""
    numbered = marks(comparison.summary)
    return [
        {"name": arm.name, "mark": numbered.get(arm.reference), "reference": arm.reference, "line": line_of(style)}
        for arm, style in arm_styles(comparison.arms)
    ]


def _counts(comparison: Comparison, name: str) -> list[int]:
    return next(list(arm.requests.values()) for arm in comparison.summary.arms if arm.info.name == name)


def line_of(style: dict[str, Any]) -> dict[str, str]:
    """Return a line's colour and dashes as SVG has them."""
    dashes = {"-": "", "--": "5 2.5", "-.": "6 2.5 1.5 2.5", ":": "1.5 2.5"}
    dash = style["linestyle"]
    told = dashes[dash] if isinstance(dash, str) else " ".join(f"{1.5 * length:g}" for length in dash[1])
    ink = INKS.get(style["color"].lower())
    return {"colour": f"var({ink})" if ink else style["color"], "dash": told}


def _tables(comparison: Comparison) -> Iterator[dict[str, Any]]:
    for title, columns_with in tables.blocks(comparison).items():
        (first, _), *columns = columns_with(_MOST_DECIMALS).items()
        rows = [list(row) for row in zip(*(cells for _, cells in columns), strict=True)]
        yield {
            "title": title,
            "first": first,
            "heads": [head for head, _ in columns],
            "rows": [[cell.strip().replace("+-", "± ") for cell in row] for row in rows],
        }


def _figures(comparison: Comparison) -> Iterator[Section]:
    places = tuple(range(len(comparison.arms)))
    with page_figures.panel() as (figure, axes):
        draw_ttft_cdf(axes, comparison, _CURVE_POINTS)
    caption = "Share of all requests that had their first token within a time; a curve that ends below 1 lost requests."
    if comparison.replications > 1:
        caption += f" All {comparison.replications} replications; band: 95 % interval of the share over them."
    yield Section("cdf", "Who waits how long", inline(figure, "cdf", _cdf_in_words(comparison)), caption, arms=places)

    points = points_of(comparison)
    timed = points[points["metric"] == "ttft_s.mean"]["value"].notna().any()
    if timed and points[points["metric"] == "link_bytes"]["value"].any():
        yield page_figures.pareto(points, (), places)


def _cdf_in_words(comparison: Comparison) -> str:
    told = []
    for arm in comparison.summary.arms:
        half, most = (arm.metrics[f"ttft_s.{p}"].value for p in ("p50", "p99"))
        if half is not None and most is not None:
            told.append(f"{arm.info.name}: half within {_s(half)}, 99 % within {_s(most)}")
    return "Time to first token by arm. " + ("; ".join(told) or "No request finished") + "."


def _s(value_s: float) -> str:
    return format_seconds(float(f"{value_s:.3g}"))
