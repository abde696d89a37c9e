"""What was published, what simkv says, and whether they are as close as is claimed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

#: Verdicts: within the tolerance, outside it, or shown without a claim.
OK, MISS, SHOWN = "ok", "miss", "shown"


class Row(NamedTuple):
    """One quantity.

    Attributes
    ----------
    quantity : what it is, with its unit.
    published : as others printed or measured it; for an error, what it ideally is.
    simulated : what simkv says.
    tolerance : claimed; None = shown without a claim.
    verdict : `OK`, `MISS` or `SHOWN`.
    """

    quantity: str
    published: float
    simulated: float
    tolerance: float | None
    verdict: str

    @property
    def error_ratio(self) -> float:
        """Simulated / published - 1; where 0 was published, what was simulated."""
        return self.simulated / self.published - 1.0 if self.published else self.simulated


def compared(quantity: str, published: float, simulated: float, tolerance: float | None = None) -> Row:
    """Return a row whose verdict is by the relative error, or by the value itself where 0 was published.

    Examples
    --------
    >>> compared("transfer [ms]", 2.0, 2.1, 0.11).verdict, compared("transfer [ms]", 2.0, 3.0, 0.11).verdict
    ('ok', 'miss')
    >>> compared("median error", 0.0, 0.03, 0.04).verdict, compared("median error", 0.0, 0.03).verdict
    ('ok', 'shown')
    """
    row = Row(quantity, published, simulated, tolerance, SHOWN)
    if tolerance is None:
        return row
    return row._replace(verdict=OK if abs(row.error_ratio) <= tolerance else MISS)


def decided(quantity: str, published: bool, simulated: bool, claimed: bool = True) -> Row:
    """Return a row of a decision: 1 = yes, 0 = no; nothing but the same is right.

    Examples
    --------
    >>> decided("pull at 2,048 tokens", True, True).verdict
    'ok'
    """
    verdict = SHOWN if not claimed else OK if published == simulated else MISS
    return Row(quantity, float(published), float(simulated), 0.0 if claimed else None, verdict)


@dataclass(frozen=True)
class Report:
    """A comparison with one published source.

    Attributes
    ----------
    name : of the comparison.
    rows : one a quantity.
    facts : what it rests on, by what it is about.
    """

    name: str
    rows: Sequence[Row]
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def misses(self) -> int:
        """Rows outside their tolerance."""
        return sum(row.verdict == MISS for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON prints it."""
        rows = [{**row._asdict(), "error_ratio": row.error_ratio} for row in self.rows]
        return {"schema_version": 1, "name": self.name, "rows": rows, "facts": self.facts}
