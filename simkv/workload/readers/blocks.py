"""Which block ids does a prompt have, when the recording has lengths, texts, or ids that mean something else?"""

from __future__ import annotations

import secrets
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal, NamedTuple, get_args

from simkv.kv.block import Run, joined
from simkv.kv.runmap import REGION_BLOCKS, RunSet
from simkv.request import GapKind, Session, Turn
from simkv.workload.readers import fields

#: [tokens] a block where a recording has none of its own: vLLM's.
BLOCK_TOKENS = 16
_DIGEST_BYTES = 12  # of a few million blocks two are equal by chance once in 1e15 files

#: What a recorded prompt holds of the turns before it: nothing known, the dialogue so far, or not that but only what
#: is new.
History = Literal["unknown", "included", "excluded"]


def check_form(block_tokens: int, history: History = "unknown") -> None:
    """Refuse what no recording can be read by.

    Raises
    ------
    ValueError : says which parameter of a format, and what is wanted.

    Examples
    --------
    >>> check_form(0)
    Traceback (most recent call last):
    ValueError: block_tokens must be at least 1, got 0
    """
    if history not in get_args(History):
        raise ValueError(f"history must be unknown, included or excluded, got {history!r}")
    if block_tokens < 1:
        raise ValueError(f"block_tokens must be at least 1, got {block_tokens}")


class Request(NamedTuple):
    """One request of a session as recordings without blocks tell it.

    Attributes
    ----------
    input_tokens, answer_tokens : [tokens]
    start_s, end_s : [s] when it came and when its answer ended; None = not recorded.
    """

    input_tokens: int
    answer_tokens: int
    start_s: float | None = None
    end_s: float | None = None


def session_of(name: str, requests: Sequence[Request], history: History, block_tokens: int) -> Session:
    """Return a session whose prompts are as long as recorded, with blocks that only it has.

    Parameters
    ----------
    history : "excluded": a prompt is all that was said before and the recorded tokens; "included": the recorded tokens
        begin with the prompt before, unless they are fewer; "unknown": no prompt shares anything.

    Examples
    --------
    >>> asked = [Request(20, 30), Request(60, 5)]
    >>> [turn.block_runs for turn in session_of("s", asked, "included", 16).turns]
    [(Run(start=0, count=1),), (Run(start=0, count=3),)]
    >>> [turn.block_runs for turn in session_of("s", asked, "unknown", 16).turns]
    [(Run(start=0, count=1),), (Run(start=1, count=3),)]
    """
    turns: list[Turn] = []
    base = used = said_tokens = before_tokens = 0
    last: Request | None = None
    for request in requests:
        prompt_tokens = request.input_tokens + (said_tokens if history == "excluded" else 0)
        goes_on = history == "excluded" or (history == "included" and prompt_tokens >= before_tokens)
        if not goes_on:
            base += used
            used = 0
        full = (prompt_tokens - 1) // block_tokens  # one token at least is prefilled
        if base + full > REGION_BLOCKS:
            raise ValueError(f"a session of more than {REGION_BLOCKS} blocks")
        used = max(used, full)
        turns.append(
            Turn(
                new_tokens=prompt_tokens - full * block_tokens,
                answer_tokens=request.answer_tokens,
                think_s=think_s(last, request),
                gap_kind="none" if last is None else "human",
                block_runs=(Run(base, full),) if full else (),
            )
        )
        said_tokens += request.input_tokens + request.answer_tokens
        before_tokens, last = prompt_tokens, request
    start_s = requests[0].start_s if requests else None
    return Session(name, tuple(turns), start_s=start_s)


def think_s(before: Request | None, request: Request) -> float:
    """Return [s] the time from the end of the answer before, or where no end is recorded from its start; at least 0."""
    if before is None or before.start_s is None or request.start_s is None:
        return 0.0
    return max(0.0, request.start_s - (before.start_s if before.end_s is None else before.end_s))


def turn_of(
    blocks: tuple[Run, ...],
    input_tokens: int,
    answer_tokens: int,
    block_tokens: int,
    think_s: float = 0.0,
    gap_kind: GapKind = "none",
) -> Turn:
    """Return a turn whose prompt has these full blocks; where they are all of it, the last is prefilled anyway.

    Examples
    --------
    >>> turn_of((Run(0, 2),), 32, 5, 16)
    Turn(new_tokens=16, answer_tokens=5, think_s=0.0, gap_kind='none', chunks=(), block_runs=(Run(start=0, count=1),), \
words=(), edits=(), last_block=1)
    """
    new_tokens, last_block = input_tokens - sum(run.count for run in blocks) * block_tokens, None
    if not new_tokens:
        last_block = blocks[-1].end - 1
        blocks, new_tokens = fields.drop_last_block(blocks), block_tokens
    return Turn(new_tokens, answer_tokens, think_s, gap_kind, block_runs=blocks, last_block=last_block)


def in_runs(ids: Iterable[int]) -> tuple[Run, ...]:
    """Return block ids as runs of consecutive ones, in the same order.

    Examples
    --------
    >>> in_runs([4, 5, 9])
    (Run(start=4, count=2), Run(start=9, count=1))
    """
    found: list[Run] = []
    start, end = -1, -1
    for block in ids:
        if block != end:
            if end >= 0:
                found.append(Run(start, end - start))
            start = block
        end = block + 1
    if end >= 0:
        found.append(Run(start, end - start))
    return tuple(found)


@dataclass
class HashedBlocks:
    """Ids of blocks of texts: equal ids are equal texts up to and with the block, and say nothing else of them.

    Ids count the blocks in the order in which they were first seen. The hash has a key of this process, which nobody
    keeps, so that not even who guesses a text can find it in a file of ids.

    Examples
    --------
    >>> blocks = HashedBlocks()
    >>> blocks.ids(b"onetwosix", 3), blocks.ids(b"onetwoten..", 3), blocks.fresh(2)
    ([0, 1, 2], [0, 1, 3], [4, 5])
    """

    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), init=False, repr=False)
    _ids: dict[bytes, int] = field(default_factory=dict, init=False, repr=False)
    _next: int = field(default=0, init=False)

    def ids(self, content: bytes, block_bytes: int) -> list[int]:
        """Return the ids of the full blocks of a text."""
        found = []
        before = b""
        for start in range(0, len(content) - block_bytes + 1, block_bytes):
            block = before + content[start : start + block_bytes]
            before = blake2b(block, digest_size=_DIGEST_BYTES, key=self._key).digest()
            known = self._ids.get(before)
            if known is None:
                (known,) = self.fresh(1)
                self._ids[before] = known
            found.append(known)
        return found

    def fresh(self, count: int) -> list[int]:
        """Return ids of blocks that nobody else has."""
        if self._next + count > REGION_BLOCKS:
            raise ValueError(f"a trace of more than {REGION_BLOCKS} blocks")
        found = list(range(self._next, self._next + count))
        self._next += count
        return found


@dataclass
class ChainedBlocks:
    """Ids that stand for a block and all before it, from ids that may stand for a block alone.

    An id keeps its value where it first occurs; behind other blocks it gets a new one, from `REGION_BLOCKS / 2` on.

    Examples
    --------
    >>> blocks = ChainedBlocks()
    >>> blocks.runs([1, 2, 3]), blocks.runs([1, 2, 9]), blocks.runs([4, 2]) == (Run(4, 1), Run(REGION_BLOCKS // 2, 1))
    ((Run(start=1, count=3),), (Run(start=1, count=2), Run(start=9, count=1)), True)
    """

    _seen: RunSet = field(default_factory=RunSet, init=False, repr=False)
    _behind: dict[int, int] = field(default_factory=dict, init=False, repr=False)  # id -> block before, unless id - 1
    _heads: list[int] = field(default_factory=list, init=False, repr=False)  # its keys, sorted
    _renamed: dict[tuple[int, int], int] = field(default_factory=dict, init=False, repr=False)

    def runs(self, ids: Iterable[int]) -> tuple[Run, ...]:
        """Return a prompt's blocks, front to back."""
        found: list[Run] = []
        before = -1
        for run in in_runs(ids):
            if run.end > REGION_BLOCKS // 2:
                raise ValueError(f"want block ids below {REGION_BLOCKS // 2}, got {run.end - 1}")
            named = self._named(before, run.start)
            rest = Run(run.start + 1, run.count - 1)
            if named == run.start and self._goes_on(rest):
                found.append(run)
                before = run.end - 1
                continue
            found.append(Run(named, 1))
            before = named
            for block in range(rest.start, rest.end):
                before = self._named(before, block)
                found.append(Run(before, 1))
        return joined(found)

    def _goes_on(self, run: Run) -> bool:
        """Return whether each block of a run has only ever come behind the one before it; new ones do from now on."""
        if bisect_left(self._heads, run.start) < bisect_left(self._heads, run.end):
            return False
        if run.count:
            self._seen.add(run)
        return True

    def _named(self, before: int, block: int) -> int:
        if self._seen.gaps(Run(block, 1)):
            self._seen.add(Run(block, 1))
            if before != block - 1:
                self._behind[block] = before
                insort(self._heads, block)
            return block
        if self._behind.get(block, block - 1) == before:
            return block
        return self._renamed.setdefault((before, block), REGION_BLOCKS // 2 + len(self._renamed))


def whole_ids(value: object, at: str) -> list[int]:
    """Return a list of block ids.

    Examples
    --------
    >>> whole_ids([1, -2], "hash_ids")
    Traceback (most recent call last):
    ValueError: hash_ids[1]: want a whole number of at least 0, got -2
    """
    ids = fields.items(value, at, "block ids")
    if set(map(type, ids)) == {int} and min(ids) >= 0 and max(ids) < REGION_BLOCKS:
        return ids
    for index, each in enumerate(ids):  # says what is wrong, and where
        if (block := fields.whole(each, f"{at}[{index}]")) >= REGION_BLOCKS:
            raise ValueError(f"{at}[{index}]: want an id below {REGION_BLOCKS}, got {block}")
    return ids
