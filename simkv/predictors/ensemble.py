"""Several predictors at once, each trusted by what it got right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from simkv.errors import InputError
from simkv.predictors.question import PREDICTORS, History, Item, Outcome, Predictor
from simkv.predictors.retold import Retold, begun_by

#: Least probability in the log loss: what a member ruled out costs it 13.8 nats and not its last chance.
LOG_FLOOR = 1e-6


@PREDICTORS.register("ensemble")
@dataclass
class Ensemble:
    """Mix the members' probabilities with weights that shrink exponentially with their losses so far.

    Of N members after T queries the mixture has lost at most ln N / eta more than the best member (half the Brier
    score, eta <= 1/2; log loss, eta <= 1, no member at the floor), and with any eta at most ln N / eta + eta T / 8
    more for half the Brier score. All sessions are weighed together.

    Members are weighed after each query by what they would have said before it, on the last 16 moves. How long the
    document is they are not told then: moves lead on without end, and who shares among all chunks is told of those
    up to the furthest that was asked for so far. Members that know documents only say nothing of chains.

    Attributes
    ----------
    members : names of predictors, with their defaults; no oracles.
    loss : "brier" (half the sum of squared errors, 0 to 1) or "log" (natural logarithm, probabilities below 1e-6
        count as 1e-6).
    eta : learning rate, above 0.

    Source: Freund and Schapire, "A decision-theoretic generalization of on-line learning", JCSS 55(1), 1997; the
    bounds: Cesa-Bianchi and Lugosi, "Prediction, learning, and games", 2006, chapters 2 and 3.
    """

    members: tuple[str, ...] = ("markov", "ppm-c", "popularity")
    loss: Literal["brier", "log"] = "brier"
    eta: float = 0.5
    _members: list[Predictor] = field(default_factory=list, init=False, repr=False)
    _losses: list[float] = field(default_factory=list, init=False, repr=False)
    _sessions: dict[int, Retold] = field(default_factory=dict, init=False, repr=False)
    _furthest: int = field(default=0, init=False, repr=False)  # chunk asked so far

    def __post_init__(self) -> None:
        if not 0 < self.eta < math.inf:
            raise ValueError(f"eta must be above 0, got {self.eta}")
        if self.loss not in ("brier", "log"):
            raise ValueError(f"loss must be brier or log, got {self.loss!r}")
        if not self.members or len(set(self.members)) < len(self.members):
            raise ValueError(f"members must be different predictors, at least one, got {list(self.members)}")
        self._members = [_made(name) for name in self.members]
        self._losses = [0.0] * len(self.members)

    def predict(self, view: History) -> Mapping[Item, float]:
        """Return the weighted mean of what the members say."""
        found: dict[Item, float] = {}
        for weight, member in zip(self.weights(), self._members, strict=True):
            for item, probability in _said(member, view).items():
                found[item] = found.get(item, 0.0) + weight * probability
        return found

    def observe(self, outcome: Outcome) -> None:
        """Weigh what each member would have said, then let all learn."""
        if not outcome.before:
            self._sessions[outcome.session] = begun_by(outcome)
        session = self._sessions.setdefault(outcome.session, begun_by(outcome))
        view = session.view(outcome, self._furthest + 1)
        asked = session.item_after(outcome.move)
        for index, member in enumerate(self._members):
            self._losses[index] += self._loss_of(_said(member, view), asked)
            member.observe(outcome)
        session.learn(outcome.move)
        self._furthest = max(self._furthest, session.last)

    def weights(self) -> list[float]:
        """Return how much each member is trusted now; they sum to 1."""
        least = min(self._losses)  # the best gets exp(0), so that no sum is ever 0
        shares = [math.exp(-self.eta * (loss - least)) for loss in self._losses]
        total = math.fsum(shares)
        return [share / total for share in shares]

    def _loss_of(self, said: Mapping[Item, float], asked: Item | None) -> float:
        """Return the loss of one answer; None was asked for = what nobody could name."""
        given = said.get(asked, 0.0) if asked is not None else 0.0
        if self.loss == "log":
            return -math.log(max(given, LOG_FLOOR))
        return (math.fsum(p * p for p in said.values()) - 2 * given + 1) / 2


def _made(name: str) -> Predictor:
    if PREDICTORS.is_oracle(name) or name == "ensemble":
        raise ValueError(f"members must be no oracles and no ensembles, got {name!r}")
    try:
        return PREDICTORS.create(name)
    except InputError as error:
        raise ValueError(f"members: {error}") from error


def _said(member: Predictor, view: History) -> Mapping[Item, float]:
    if view.chunks == 0 and getattr(member, "needs_chunks", False):
        return {}
    return member.predict(view)
