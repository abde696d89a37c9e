"""Which blocks make up the prompt of a turn, in which order, and which of them could come from elsewhere?

A prompt is *parts* (document chunks, or runs of blocks that a trace names), then the conversation's *own*
blocks (dialogue so far, question, answer), which exist only where they were computed. What a layout means
(semantics B2) is decided here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, takewhile

from simkv.errors import InputError
from simkv.kv.block import Run, joined, overlap
from simkv.kv.depth import Depths
from simkv.kv.document import Part as Part  # noqa: PLC0414 - whoever works on prompts finds it here
from simkv.kv.document import Version, versions
from simkv.kv.runmap import REGION_BLOCKS, RunSet
from simkv.request import GapKind, Session, TraceHeader, Turn

VERSION_BLOCKS = 1 << 20  # ids one version of a dialogue may use: a million blocks
MOST_VERSIONS = REGION_BLOCKS // VERSION_BLOCKS  # of one dialogue: for each chunk last loaded, and each edit
OPEN_LOOP = -1  # key of the one sequence that all requests without session identity make
OWN_IDS = 1 << 60  # own blocks have ids from here on


@dataclass(slots=True)
class Prompt:
    """What one turn needs, and what it leaves behind.

    Attributes
    ----------
    parts : front to back.
    spans : the blocks of the parts in as few runs as possible.
    fresh_blocks : how many of them come into being with this turn.
    chained : a part is usable only if all before it are (exact prefix); False = each part alone.
    own : blocks of dialogue, question and answer, behind the parts.
    own_known_tokens : [tokens] of dialogue whose KV an earlier turn may have left in `own`.
    prompt_tokens, output_tokens : [tokens]
    kept_blocks : how many blocks of `own` are full and computed when the answer ends, and stay.
    asked : the items that the query is about.
    words : content words of the question; empty where unknown.
    stopped_by : who makes the gap after the answer, which its stop reason tells once it has ended.
    """

    parts: tuple[Part, ...]
    spans: tuple[Run, ...]
    fresh_blocks: int
    chained: bool
    own: Run
    own_known_tokens: int
    prompt_tokens: int
    output_tokens: int
    kept_blocks: int
    asked: tuple[int | Run, ...]
    words: tuple[str, ...] = ()
    stopped_by: GapKind = "none"

    @property
    def own_prompt_tokens(self) -> int:
        """[tokens] of the prompt that lie in `own`: dialogue and question."""
        return self.prompt_tokens - sum(part.tokens for part in self.parts)

    def chain(self, index: int) -> tuple[Part, ...]:
        """Return the parts that must be there for a part to be exact, itself last."""
        if self.chained:
            return self.parts[: index + 1]
        first = index
        while first and self.parts[first - 1].item == self.parts[index].item:  # pieces of one chunk
            first -= 1
        return self.parts[first : index + 1]


def tokens_in(part: Part, run: Run, block_tokens: int) -> int:
    """Return the [tokens] of a part that lie in a run of its blocks; its last block may be partly filled.

    Examples
    --------
    >>> tokens_in(Part(Run(0, 3), 40, 0), Run(1, 2), 16)
    24
    """
    first = min((run.start - part.run.start) * block_tokens, part.tokens)
    return min((run.end - part.run.start) * block_tokens, part.tokens) - first


def in_parts(parts: Sequence[Part], runs: Iterable[Run]) -> list[tuple[int, Run]]:
    """Return where runs lie: (part index, blocks), in order of part.

    Examples
    --------
    >>> in_parts([Part(Run(0, 4), 64, 0), Part(Run(4, 4), 64, 1)], [Run(2, 3)])
    [(0, Run(start=2, count=2)), (1, Run(start=4, count=1))]
    """
    found = [
        (index, piece)
        for run in runs
        for index, part in enumerate(parts)
        if (piece := overlap(part.run, run)) is not None
    ]
    found.sort()
    return found


def is_own(run: Run) -> bool:
    """Return whether a run belongs to one conversation's dialogue, which no source can send."""
    return run.start >= OWN_IDS


class Content:
    """Block ids of one run: equal ids are equal content, and nothing else is.

    Parameters
    ----------
    header : of the trace: block size and scope of ids.
    """

    def __init__(self, header: TraceHeader) -> None:
        self.block_tokens = header.block_tokens
        self.has_sessions = header.has_sessions
        self._is_global = header.block_scope == "global"
        self._regions: dict[object, int] = {}
        self._copies: dict[str, int] = {}
        self._seen = RunSet()
        self.depths: Depths | None = None  # kept where an eviction policy weighs costs

    def keep_depths(self) -> Depths:
        """Return where blocks stand in their prompts; noted from the next prompt on."""
        self.depths = self.depths or Depths(self.block_tokens)
        return self.depths

    def blocks(self, tokens: int) -> int:
        """Return how many blocks hold [tokens]."""
        return -(-tokens // self.block_tokens)

    def region(self, key: object) -> int:
        """Return the first block id of the document, conversation or shared prefix called `key`."""
        if key not in self._regions:
            self._regions[key] = (len(self._regions) + 1) * REGION_BLOCKS
        return self._regions[key]

    def copy_of(self, session_id: str) -> int:
        """Return how often this session was drawn before: a copy shares no document with its original."""
        if not self.has_sessions:  # every request is drawn once
            return 0
        copy = self._copies.get(session_id, 0)
        self._copies[session_id] = copy + 1
        return copy

    def private_spans(self, draw: int) -> tuple[Run, ...]:
        """Return the id range that belongs to one draw of a block-run session alone."""
        return () if self._is_global else (Run(self.region(("session", draw)), REGION_BLOCKS),)

    def name(self, run: Run) -> list[tuple[Run, bool]]:
        """Name a run in a prompt; return its pieces, each with whether it is named for the first time."""
        fresh = self._seen.gaps(run)
        if not fresh:
            return [(run, False)]
        pieces = [(gap, True) for gap in fresh]
        at = run.start
        for gap in fresh:
            if gap.start > at:
                pieces.append((Run(at, gap.start - at), False))
            at = gap.end
        self._seen.add(run)
        if at < run.end:
            pieces.append((Run(at, run.end - at), False))
        pieces.sort()
        return pieces

    def existing_front(self, parts: Sequence[Part]) -> tuple[Part, ...]:
        """Return the front of a chain that some prompt has named by now: what comes after does not exist (B1)."""
        found: list[Part] = []
        for part in parts:
            gaps = self._seen.gaps(part.run)
            if not gaps:
                found.append(part)
                continue
            if count := gaps[0].start - part.run.start:
                run = Run(part.run.start, count)
                found.append(Part(run, count * self.block_tokens, run))
            break
        return tuple(found)

    def placed(self, session: Session, draw: int, run: Run) -> list[Run]:
        """Return where the ids of a block-run session stand in this run's id space."""
        if run.end > REGION_BLOCKS:
            raise InputError(
                f"block {run.end - 1} is beyond the {REGION_BLOCKS} ids that a trace may use; want smaller ids",
                f"session {session.session_id}",
            )
        if self._is_global:
            return [run]
        own = self.region(("session", draw))
        first = session.turns[0].block_runs[0].start if session.shared_blocks else 0
        common = overlap(run, Run(first, session.shared_blocks)) if session.shared_blocks else None
        if common is None:
            return [Run(own + run.start, run.count)]
        shared = self.region(("shared", session.shared_key)) - first
        pieces = (
            Run(own + run.start, common.start - run.start),
            Run(shared + common.start, common.count),
            Run(own + common.end, run.end - common.end),
        )
        return [piece for piece in pieces if piece.count]


class Conversation:
    """A session while it is played: its place in the id space and the prompt of each turn.

    Parameters
    ----------
    session : what the trace says.
    draw : its draw index (semantics G2).
    content : the run's id space.

    Attributes
    ----------
    key : under which speculation for it is remembered: its draw, or `OPEN_LOOP` where requests have no
        session, and the whole stream of them is one sequence.
    has_ended : its last answer is complete; set by whoever plays it.
    """

    def __init__(self, session: Session, draw: int, content: Content) -> None:
        if session.layout == "interleaved":
            raise InputError(
                "layout 'interleaved' cannot be played: exact KV of a later chunk depends on answers not yet decoded;"
                " want 'document_first' or 'independent'",
                f"session {session.session_id}",
            )
        edits = sum(1 for turn in session.turns if turn.edits)
        if len(session.chunk_tokens) + edits >= MOST_VERSIONS:
            raise InputError(
                f"want a document of fewer than {MOST_VERSIONS} chunks, got {len(session.chunk_tokens)}"
                + (f" and {edits} turns that edit it" if edits else ""),
                f"session {session.session_id}",
            )
        self.session = session
        self.draw = draw
        self.key = draw if content.has_sessions else OPEN_LOOP
        self.has_ended = False
        self._content = content
        self._foreseen: tuple[Turn | None, tuple[Part, ...]] = (None, ())
        self._own_base = OWN_IDS + content.region(("own", draw))
        self._dialogue_tokens = 0
        self._version_tokens = 0  # dialogue tokens whose KV was computed behind the current document
        self._loaded = 0  # document_first: chunks 0 .. loaded - 1 are in the context
        self._edited = 0  # document_first: edits of chunks that were in the context
        self.chunks = len(session.chunk_tokens)
        self._versions = self._place_chunks() if self.chunks else []
        self._version = 0  # which of them is in force

    def chain(self, chunk: int) -> tuple[Part, ...]:
        """Return the parts that must be there for a chunk to be exact, its own last."""
        return self._chain_in(self._versions[self._version], chunk)

    @property
    def is_chained(self) -> bool:
        """Whether a chunk is exact only behind all chunks before it."""
        return self.session.layout != "independent"

    def prompt(self, turn_index: int) -> Prompt:
        """Return the prompt of a turn; call once per turn, in order."""
        turn = self.session.turns[turn_index]
        if self.chunks:
            self._version = turn_index + 1
            parts = self._document_parts(turn)
            asked: tuple[int | Run, ...] = turn.chunks
            prompt = self._with_dialogue(parts, asked, turn.new_tokens, turn.answer_tokens)
            prompt.words = turn.words
            self._dialogue_tokens += turn.new_tokens + turn.answer_tokens
            self._version_tokens = self._dialogue_tokens
        else:
            prompt = self._block_run_prompt(turn_index)
        if self._content.depths is not None:
            self._content.depths.note([*(part.run for part in prompt.parts), prompt.own])
        turns = self.session.turns
        prompt.stopped_by = turns[min(turn_index + 1, len(turns) - 1)].gap_kind  # after the last turn, as before it
        return prompt

    def future_parts(self, turn_index: int) -> dict[int | Run, tuple[Part, ...]]:
        """Return what a later turn will ask for, for oracles: each item with all that it needs, itself last.

        Items are chunks, or the last run of what exists of the turn's chain by now (semantics B1).
        """
        turn = self.session.turns[turn_index]
        if self.chunks:
            found = [(chunk, self._existing_chain(turn_index, chunk)) for chunk in turn.chunks]
            if self.key != OPEN_LOOP:
                return {chunk: parts for chunk, parts in found if parts}
            # chunk numbers of strangers' documents would be mistaken for one another
            return {parts[-1].run: parts for _, parts in found if parts}
        if turn is not self._foreseen[0]:  # an oracle looks at a turn again at every query before it
            self._foreseen = (turn, self._chain_of(turn))
        parts = self._content.existing_front(self._foreseen[1])
        return {parts[-1].run: parts} if parts else {}

    def private_spans(self) -> tuple[Run, ...]:
        """Return the id ranges of document or session that no other conversation can name."""
        if self.chunks:
            is_private = self.session.document_id is None
            return (Run(self._versions[0].chunks[0][0].run.start, REGION_BLOCKS),) if is_private else ()
        return self._content.private_spans(self.draw)

    def accesses(self) -> list[tuple[Run, ...]]:
        """Return the shareable blocks that each turn uses, for oracles that need the recorded order."""
        loaded, found = 0, []
        for index, turn in enumerate(self.session.turns):
            if not self.chunks:
                found.append(tuple(part.run for part in self._chain_of(turn)))
                continue
            loaded = max([loaded, *(chunk + 1 for chunk in turn.chunks)])
            chunks = range(loaded) if self.is_chained else turn.chunks
            found.append(tuple(part.run for part in self._parts(self._versions[index + 1], chunks)))
        return found

    def last_block(self, turn: Turn) -> tuple[Run, ...]:
        """Return the block that a turn's trace names behind the shareable ones, if it does."""
        if turn.last_block is None:
            return ()
        return tuple(self._content.placed(self.session, self.draw, Run(turn.last_block, 1)))

    def _chain_of(self, turn: Turn) -> tuple[Part, ...]:
        placed = (run for named in turn.block_runs for run in self._content.placed(self.session, self.draw, named))
        return tuple(Part(run, run.count * self._content.block_tokens, run) for run in joined(placed))

    def _place_chunks(self) -> list[Version]:
        session, content = self.session, self._content
        copy = content.copy_of(session.session_id)
        document = session.document_id if session.document_id is not None else ("own", session.session_id)
        return versions(session, content.region(("document", document, copy)), content.block_tokens)

    def _parts(self, version: Version, chunks: Iterable[int]) -> tuple[Part, ...]:
        return tuple(chain.from_iterable(version.chunks[chunk] for chunk in chunks))

    def _chain_in(self, version: Version, chunk: int) -> tuple[Part, ...]:
        return self._parts(version, range(chunk + 1) if self.is_chained else (chunk,))

    def _existing_chain(self, turn_index: int, chunk: int) -> tuple[Part, ...]:
        """Return the front of what a later turn needs of the document that no edit until then makes anew (B1)."""
        end = self._versions[self._version].end
        parts = self._chain_in(self._versions[turn_index + 1], chunk)
        return tuple(takewhile(lambda part: part.run.start < end, parts))

    def _document_parts(self, turn: Turn) -> tuple[Part, ...]:
        version = self._versions[self._version]
        if not self.is_chained:
            return self._parts(version, turn.chunks)
        if any(edit.chunk < self._loaded for edit in turn.edits):  # the dialogue stands behind it: a new version
            self._edited += 1
            self._version_tokens = 0
        needed = max([self._loaded, *(chunk + 1 for chunk in turn.chunks)])
        if needed > self._loaded:  # the dialogue moves behind more document: a new version of it (B2)
            self._loaded = needed
            self._version_tokens = 0
        return self._parts(version, range(needed))

    def _with_dialogue(
        self, parts: tuple[Part, ...], asked: tuple[int | Run, ...], new_tokens: int, answer_tokens: int
    ) -> Prompt:
        content = self._content
        version = self._loaded + self._edited if self.is_chained else 0
        total = self._dialogue_tokens + new_tokens + answer_tokens
        return Prompt(
            parts=parts,
            spans=joined(part.run for part in parts),
            fresh_blocks=0,
            chained=self.is_chained,
            own=Run(self._own_base + version * VERSION_BLOCKS, content.blocks(total)),
            own_known_tokens=self._version_tokens,
            prompt_tokens=sum(part.tokens for part in parts) + self._dialogue_tokens + new_tokens,
            output_tokens=answer_tokens,
            kept_blocks=(total - 1) // content.block_tokens,  # the last token emitted has no KV yet
            asked=asked,
        )

    def _block_run_prompt(self, turn_index: int) -> Prompt:
        turn, content = self.session.turns[turn_index], self._content
        placed = [each for run in turn.block_runs for each in content.placed(self.session, self.draw, run)]
        named = [piece for each in placed for piece in content.name(each)]
        parts = [Part(piece, piece.count * content.block_tokens, piece, fresh) for piece, fresh in named]
        tail_tokens = turn.new_tokens + turn.answer_tokens
        old = tuple(part.run for part in parts if not part.fresh)
        return Prompt(
            parts=tuple(parts),
            spans=joined(part.run for part in parts),
            fresh_blocks=sum(part.run.count for part in parts if part.fresh),
            chained=True,
            own=Run(self._own_base, content.blocks(tail_tokens)),
            own_known_tokens=0,
            prompt_tokens=sum(part.tokens for part in parts) + turn.new_tokens,
            output_tokens=turn.answer_tokens,
            kept_blocks=0,  # the trace names the answer's blocks only in the next prompt, as new ones
            asked=old[-1:],
            words=turn.words,
        )
