"""How does somebody, or some agent, read a document that is edited meanwhile?

The reader is that of `sequential-reading`, draw for draw; before some turns a chunk that has been asked is edited
from some place in it on. How often: as turns of recorded coding agents drop more than a tenth of their prefix. That
the edited chunk and the place are equally likely to be any is this generator's assumption.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from simkv.request import Edit, Session, TraceHeader
from simkv.rng import stream
from simkv.workload.generators.question import GENERATORS, provenance, want
from simkv.workload.generators.sequential_reading import SequentialReading

NAME = "editing"


@GENERATORS.register(NAME)
@dataclass
class Editing(SequentialReading):
    """Conversations that read a document in order, as `sequential-reading`, while it is edited.

    Parameters
    ----------
    edit_ratio : probability that a turn, the first apart, comes with an edit of a chunk asked before it.

    Examples
    --------
    >>> first = next(Editing(turns=3, chunks=4, edit_ratio=1.0).sessions(seed=1))
    >>> [len(turn.edits) for turn in first.turns]
    [0, 1, 1]
    """

    # claude_code_traces, shared part: 481 of 28,810 requests drop more than 10 % of the blocks of the one before.
    edit_ratio: float = 0.0167

    def __post_init__(self) -> None:
        super().__post_init__()
        want(0 <= self.edit_ratio <= 1, f"edit_ratio: want 0 to 1, got {self.edit_ratio}")

    def header(self) -> TraceHeader:
        """Return what is true of all sessions."""
        return TraceHeader(self.block_tokens, self.layout, "session", True, provenance(NAME, self))

    def sessions(self, seed: int) -> Iterator[Session]:
        """Yield the conversations of one seed, each with a document of its own and no recorded start."""
        for conversation, session in enumerate(super().sessions(seed)):
            draws = stream(seed, NAME, conversation, "edit")
            turns, asked = [], set[int]()
            for turn in session.turns:
                # Three draws a turn whatever happens, so that another probability leaves later turns their draws.
                happens, which, place = draws.random(), draws.random(), draws.random()
                edits: tuple[Edit, ...] = ()
                if asked and happens < self.edit_ratio:
                    chunk = sorted(asked)[int(which * len(asked))]
                    edits = (Edit(chunk, int(place * self.chunk_tokens), self.chunk_tokens),)
                turns.append(dataclasses.replace(turn, edits=edits))
                asked.update(turn.chunks)
            yield dataclasses.replace(session, session_id=f"{NAME}-{conversation}", turns=tuple(turns))
