"""When will the next query of a session come? What whoever speculates keeps to answer it.

Answers and the gaps between them are told apart: how long an answer takes is the server's doing, the gap is a tool's
or a human's, and only the gap is what a timing predictor learns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from simkv.predictors.gap import Gap
from simkv.predictors.timing.question import TimingPredictor, TimingView
from simkv.request import GapKind

MOST_REMEMBERED = 64  # gaps of one session
LEARNING = 0.1  # weight of the newest answer in how long answers take: about the last ten count


@dataclass(slots=True)
class Pulse:
    """The rhythm of one session.

    Attributes
    ----------
    asked_s, paused_s : [s] when the last query came, and when its answer ended; None while it has not.
    kind : who makes the gap that has begun, or made the last one.
    """

    asked_s: float
    paused_s: float | None = None
    kind: GapKind = "none"
    gaps_s: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_REMEMBERED))


class Rhythm:
    """Learns how long answers and gaps take, for all sessions of one mind.

    Parameters
    ----------
    timing : predicts gaps.
    sees_future : it is registered as an oracle.
    """

    def __init__(self, timing: TimingPredictor, *, sees_future: bool) -> None:
        self._timing = timing
        self._sees_future = sees_future
        self._answer_s = 0.0  # learned; 0 before the first
        self._heard: dict[GapKind, None] = {}  # kinds of gaps that were learned of, the last one last

    def asked(self, session: int, pulse: Pulse, last_move: int | None, now_s: float) -> None:
        """A query has come: the gap before it, if its beginning was heard of, is over."""
        if pulse.paused_s is not None:
            gap_s = now_s - pulse.paused_s
            self._timing.observe(self._view(session, pulse, last_move, 0.0, gap_s), gap_s)
            pulse.gaps_s.append(gap_s)
            self._heard.pop(pulse.kind, None)
            self._heard[pulse.kind] = None
        pulse.asked_s, pulse.paused_s = now_s, None

    def paused(self, pulse: Pulse, kind: GapKind, now_s: float) -> None:
        """An answer has ended."""
        answer_s = now_s - pulse.asked_s
        self._answer_s += (answer_s - self._answer_s) * (LEARNING if self._answer_s else 1.0)
        pulse.paused_s, pulse.kind = now_s, kind

    def until_next(
        self, session: int, pulse: Pulse, last_move: int | None, now_s: float, true_gap_s: Callable[[], float | None]
    ) -> Gap | None:
        """Return how long from now until the next query.

        None while no gap of its kind was heard of, and where an oracle knows that no query will come. Who makes the
        first gap of a session is not known before it begins: it is taken to be of the kind heard of last.
        """
        future_s = true_gap_s() if self._sees_future else None
        if self._sees_future and future_s is None:
            return None
        if pulse.kind == "none" and self._heard:
            pulse = replace(pulse, kind=next(reversed(self._heard)))
        if not self._sees_future and pulse.kind not in self._heard:
            return None
        if pulse.paused_s is not None:
            return self._timing.predict(self._view(session, pulse, last_move, now_s - pulse.paused_s, future_s))
        gap = self._timing.predict(self._view(session, pulse, last_move, 0.0, future_s))
        return Later(gap, max(0.0, pulse.asked_s + self._answer_s - now_s))

    def _view(
        self, session: int, pulse: Pulse, last_move: int | None, elapsed_s: float, true_gap_s: float | None
    ) -> TimingView:
        future_s = true_gap_s if self._sees_future else None
        return TimingView(session, pulse.kind, last_move, elapsed_s, pulse.gaps_s, future_s)


@dataclass(frozen=True, slots=True)
class Later:
    """A gap that begins only after the rest of an answer.

    Attributes
    ----------
    rest_s : [s] of it.

    Examples
    --------
    >>> from simkv.predictors.timing.distributions import Certain
    >>> later = Later(Certain(5.0), rest_s=2.0)
    >>> later.mean_s, later.quantile(0.5), later.cdf(6.9), later.cdf(7.0)
    (7.0, 7.0, 0.0, 1.0)
    """

    gap: Gap
    rest_s: float

    @property
    def mean_s(self) -> float:
        """[s] The expected time."""
        return self.rest_s + self.gap.mean_s

    def cdf(self, t_s: float) -> float:
        """Return P(the query comes within `t_s`)."""
        return self.gap.cdf(t_s - self.rest_s) if t_s >= self.rest_s else 0.0

    def quantile(self, q: float) -> float:
        """Return [s] the time within which it comes with probability `q`."""
        return self.rest_s + self.gap.quantile(q)
