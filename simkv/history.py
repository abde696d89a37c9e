"""What does a source remember of one conversation, from the queries that reached it?

Predictors work on moves (semantics C1: only what was seen, nothing of what comes). Chunks of a document move
by difference; chains of blocks by recency: a conversation with sub-agents alternates between a few chains,
and "how many other chains were used since this one" is what repeats.
"""

from __future__ import annotations

from collections.abc import Callable

from simkv.kv.block import Run
from simkv.kv.prefix import OPEN_LOOP, Conversation, Part, Prompt
from simkv.predictors.question import LONGEST_CONTEXT, History, Item, Outcome

NEW_CHAIN = -1  # the move to a chain never seen before
MOST_CHAINS = 16  # chains remembered: a conversation with sub-agents alternates between a few
MOST_REMEMBERED = 256  # queries remembered, at least


class Remembered:
    """One conversation as its source knows it.

    Parameters
    ----------
    knows_document : the words of its chunks are known here; a receiver that pulls does not have the document.

    Attributes
    ----------
    asked, moves, words : items, moves and content words so far, one entry a query, oldest first.
    """

    __slots__ = ("_chains", "_chunk_words", "_conversation", "asked", "moves", "words")

    def __init__(self, conversation: Conversation, *, knows_document: bool = True) -> None:
        self._conversation = conversation
        self._chunk_words = conversation.session.chunk_words if knows_document else ()
        self.asked: list[Item] = []
        self.moves: list[int] = []
        self.words: list[tuple[str, ...]] = []
        self._chains: list[tuple[Part, ...]] = []  # most recently used first

    def learn(self, prompt: Prompt) -> Outcome | None:
        """Take in a query; return what it turned out to ask, None if it asked for nothing that can be moved."""
        if self._conversation.key == OPEN_LOOP:
            return None  # requests of strangers make no history
        if self._conversation.chunks:
            if not prompt.asked:
                return None
            item: Item = prompt.asked[-1]
            move = self._chunk_move(item)
        else:
            if not prompt.parts:
                return None
            item, move = self._chain_move(prompt)
        outcome = Outcome(
            self._conversation.key,
            tuple(self.moves[-LONGEST_CONTEXT:]),
            move,
            item=item,
            last=self.asked[-1] if self.asked else None,
            words=prompt.words,
            words_before=tuple(self.words[-LONGEST_CONTEXT:]),
            chunk_words=self._chunk_words,
        )
        self.asked.append(item)
        self.moves.append(move)
        self.words.append(prompt.words)
        if len(self.asked) > 2 * MOST_REMEMBERED:
            for entries in (self.asked, self.moves, self.words):
                del entries[:MOST_REMEMBERED]
        return outcome

    def view(self, next_items: Callable[[], list[Item]] | None) -> History:
        """Return what a predictor may see; `next_items` only for oracles."""
        return History(
            session=self._conversation.key,
            asked=self.asked,
            moves=self.moves,
            item_after=self.item_after,
            chunks=self._conversation.chunks,
            next_items=next_items,
            words=self.words,
            chunk_words=self._chunk_words,
        )

    def item_after(self, move: int) -> Item | None:
        """Return the item that a move would reach now."""
        chunks = self._conversation.chunks
        if chunks:
            last = self.asked[-1] if self.asked else -1
            target = last + move if isinstance(last, int) else -1
            return target if 0 <= target < chunks else None
        return self._chains[move][-1].run if 0 <= move < len(self._chains) else None

    def parts_of(self, item: Item) -> tuple[Part, ...]:
        """Return all that an item needs to be usable, in prompt order, itself last; empty for an unknown chain."""
        if isinstance(item, Run):
            return next((chain for chain in self._chains if chain[-1].run == item), ())
        return self._conversation.chain(item)

    def _chunk_move(self, item: Item) -> int:
        last = self.asked[-1] if self.asked else -1
        return item - last if isinstance(item, int) and isinstance(last, int) else NEW_CHAIN

    def _chain_move(self, prompt: Prompt) -> tuple[Item, int]:
        """Find the chain that the prompt continues: the one whose last block it contains."""
        move = NEW_CHAIN
        for recency, chain in enumerate(self._chains):
            leaf = chain[-1].run.end - 1
            if any(part.run.start <= leaf < part.run.end for part in prompt.parts):
                move = recency
                del self._chains[recency]
                break
        self._chains.insert(0, prompt.parts)
        del self._chains[MOST_CHAINS:]
        return prompt.parts[-1].run, move
