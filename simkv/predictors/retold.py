"""What did a predictor see before an outcome? A session as its outcomes retell it.

Who weighs predictors by their losses needs what they said of an outcome, but predicting leaves no trace and nobody
need have asked. So the view of before is built again from the moves: chunks by adding them up, chains by recency.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from simkv.kv.block import Run
from simkv.predictors.question import History, Item, Outcome

#: Chains that are told apart, as many as a source remembers of a session.
MOST_CHAINS = 16


@dataclass(slots=True)
class Retold:
    """One session, from its outcomes alone.

    A chain is retold as a run of one block, numbered by its first use: which blocks it was is not in an outcome.

    Attributes
    ----------
    is_document : it reads chunks; else it uses chains.
    last : the chunk asked last, -1 before the first.
    chains : numbers of the chains used, most recently used first.
    used : how many chains were ever used.

    Examples
    --------
    >>> session = Retold(is_document=True)
    >>> session.learn(3), session.learn(-1), session.last
    (None, None, 1)
    """

    is_document: bool
    last: int = -1
    chains: list[int] = field(default_factory=list)
    used: int = 0

    def view(self, outcome: Outcome, chunks: int) -> History:
        """Return what was seen before `outcome`: its last moves and the last item.

        Parameters
        ----------
        chunks : how many the document is said to have where its words do not tell.
        """
        asked: tuple[Item, ...] = ()
        if outcome.before:
            asked = (self.last,) if self.is_document else tuple(Run(chain, 1) for chain in self.chains[:1])
        return History(
            session=outcome.session,
            asked=asked,
            moves=outcome.before,
            item_after=self.item_after,
            chunks=(len(outcome.chunk_words) or chunks) if self.is_document else 0,
            words=outcome.words_before,
            chunk_words=outcome.chunk_words,
        )

    def item_after(self, move: int) -> Item | None:
        """Return what a move would reach, None when nothing that is known; no end of a document is known.

        An end put where readers have got to would tell, of each who goes further, that he does.
        """
        if self.is_document:
            return self.last + move if self.last + move >= 0 else None
        return Run(self.chains[move], 1) if 0 <= move < len(self.chains) else None

    def learn(self, move: int) -> None:
        """Make a move."""
        if self.is_document:
            self.last += move
        elif 0 <= move < len(self.chains):
            self.chains.insert(0, self.chains.pop(move))
        else:
            self.chains.insert(0, self.used)
            self.used += 1
            del self.chains[MOST_CHAINS:]


def begun_by(outcome: Outcome) -> Retold:
    """Return the session that a first outcome begins: documents begin with a move ahead, a first chain is new (-1).

    Examples
    --------
    >>> begun_by(Outcome(0, (), 1)).is_document, begun_by(Outcome(0, (), -1)).is_document
    (True, False)
    """
    return Retold(is_document=outcome.move > 0)
