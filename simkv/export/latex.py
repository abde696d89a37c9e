"""The main table of a run or a sweep as a LaTeX `tabular` with booktabs rules, for a paper or its supplement."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from simkv.errors import InputError
from simkv.metrics import MB_BYTES
from simkv.report.footnotes import marks
from simkv.report.layout import UNDEFINED, counted, decimals, number
from simkv.report.reading import SavedRun, SavedSweep
from simkv.report.sweep_table import METRICS, arms_of, estimates, order_of
from simkv.statistics import Estimate

if TYPE_CHECKING:
    from simkv.export.target import Choice
    from simkv.report.comparison import Comparison
    from simkv.report.summary import Summary

NAME = "table.tex"
_NEEDS = "% Needs \\usepackage{booktabs}, and \\usepackage[utf8]{inputenc} where a name is not ASCII."
_CI = "95\\,\\% Student intervals over replications"
_ESCAPED = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "\\": "\\textbackslash{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    '"': "\\textquotedbl{}",
}
_POWER = re.compile(r"e[+]?(-?)0*([0-9]+)")
_AS_POWER = r" \\cdot 10^{\1\2}"
_SPECIAL = re.compile("|".join(map(re.escape, _ESCAPED)))


def escaped(text: str) -> str:
    r"""Return a text that LaTeX prints as it is, on one line.

    Examples
    --------
    >>> print(escaped("50%_of_$x"))
    50\%\_of\_\$x
    """
    return _SPECIAL.sub(lambda sign: _ESCAPED[sign[0]], " ".join(text.split()))


def make(saved: SavedRun | SavedSweep, _: Choice) -> dict[str, bytes]:
    """Return the file `table.tex`."""
    lines = _of_sweep(saved) if isinstance(saved, SavedSweep) else _of_run(saved.comparison, saved)
    return {NAME: "".join(f"{line}\n" for line in lines).encode()}


def _of_run(comparison: Comparison, saved: SavedRun) -> Iterator[str]:
    summary, replications = comparison.summary, comparison.replications
    heads, columns = zip(*_columns(summary, replications), strict=True)
    numbered = marks(summary)
    names = [
        escaped(arm.info.name) + (f"\\textsuperscript{{{numbered[arm.info.reference]}}}" if arm.info.reference else "")
        for arm in summary.arms
    ]
    of = f"{_comment(comparison.scenario.name)}, {counted(replications, 'replication')}, seed {comparison.seed}"
    yield f"% simkv {saved.manifest['simkv']}: {of}."
    yield "% $\\pm$ and brackets: " + (f"{_CI}." if replications > 1 else "none, there is one replication.")
    yield f"% Differences are arm - {_comment(summary.baseline)}, over turns finished in both."
    for reference, mark in numbered.items():
        yield f"% {mark}: {_comment(reference)}"
    yield _NEEDS
    yield from _tabular(["arm", *heads], [[name, *row] for name, *row in zip(names, *columns, strict=True)])


def _columns(summary: Summary, replications: int) -> Iterator[tuple[str, list[str]]]:
    arms = summary.arms
    ttft = [arm.metrics["ttft_s.mean"] for arm in arms]
    digits = decimals(estimate.value for estimate in ttft)
    yield "TTFT [s]", [_plus_minus(estimate, digits) for estimate in ttft]
    for percentile in ("p50", "p99"):
        estimates = [arm.metrics[f"ttft_s.{percentile}"] for arm in arms]
        most = decimals(estimate.value for estimate in estimates)
        yield f"{percentile} [s]", [_plus_minus(estimate, most) for estimate in estimates]
    contrasts = [summary.contrast(arm.info.name, summary.baseline) for arm in arms]
    yield "difference [s]", [_interval(c.difference, digits, "+") if c else _dash() for c in contrasts]
    if summary.best is not None:
        ratios = [summary.contrast(arm.info.name, summary.best) for arm in arms]
        yield f"$N \\times$ {escaped(summary.best)}", [_interval(c.ratio, 2) if c else _dash() for c in ratios]
    for head, totals in (
        ("moved [MB]", [sum(arm.link_bytes.values()) for arm in arms]),
        ("wasted [MB]", [arm.wasted_bytes for arm in arms]),
    ):
        megabytes = [total / MB_BYTES / replications for total in totals]
        most = decimals(megabytes, 1)
        yield head, [_math(number(value, most)) for value in megabytes]
    yield "lost", [str(sum(arm.requests.values()) - arm.requests["finished"]) for arm in arms]


def _of_sweep(saved: SavedSweep) -> Iterator[str]:
    points, paths = saved.points, saved.paths
    arms, order = arms_of(points), order_of(points, paths)
    if order.empty:
        raise InputError("no point of the sweep finished, and a table would be empty", str(saved.path))
    metric = "ttft_s.mean"
    columns = [estimates(points, metric, arm.name, order) for arm in arms]
    digits = decimals(estimate.value for column in columns for estimate in column)
    cells = [[_plus_minus(estimate, digits) for estimate in column] for column in columns]
    values = [[escaped(str(value)) for value in order[path]] for path in paths]
    yield f"% simkv {saved.header['simkv']}: sweep of {_comment(str(saved.header['scenario']))}."
    yield f"% {METRICS[metric][0]} [s] by arm; $\\pm$: {_CI}, where there are several."
    if len(saved.failures):
        yield f"% {len(saved.failures)} points failed and are left out."
    yield _NEEDS
    heads = [escaped(path) for path in paths] + [f"{escaped(arm.name)} [s]" for arm in arms]
    yield from _tabular(heads, [list(row) for row in zip(*values, *cells, strict=True)], texts=len(paths))


def _tabular(heads: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> Iterator[str]:
    """Yield a table: the first columns to the left, the others to the right."""
    yield f"\\begin{{tabular}}{{{'l' * texts}{'r' * (len(heads) - texts)}}}"
    yield "\\toprule"
    yield " & ".join(heads) + " \\\\"
    yield "\\midrule"
    for row in rows:
        yield " & ".join(row) + " \\\\"
    yield "\\bottomrule"
    yield "\\end{tabular}"


def _plus_minus(estimate: Estimate, digits: int) -> str:
    half = "" if estimate.half_width is None else f" \\pm {estimate.half_width:.{digits}f}"
    return _math(number(estimate.value, digits) + half)


def _interval(estimate: Estimate, digits: int, sign: str = "") -> str:
    told = number(estimate.value, digits, sign)
    if estimate.low is None or estimate.high is None:
        return _math(told)
    return _math(f"{told}\\ [{number(estimate.low, digits, sign)}, {number(estimate.high, digits, sign)}]")


def _math(told: str) -> str:
    """Return a number with a true minus sign; powers of ten as people write them."""
    if told == UNDEFINED:
        return _dash()
    return f"${_POWER.sub(_AS_POWER, told)}$"


def _dash() -> str:
    return "--"


def _comment(text: str) -> str:
    """Return a text that ends no comment."""
    return " ".join(text.split())
