"""What must be sent so that who holds older versions of a context holds a new one? (semantics B5)

Three answers: all of it (naive resend), what whole blocks of a common prefix leave over (prefix caching), and the
new positions alone (delta). KV of a position depends on all before it and never changes while they do not; so a
delta is the positions behind the first difference. Attention weights, which a new question does change, are no part
of a KV cache: where somebody wants them they are metadata of so many bytes a position. Arithmetic alone: no time.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from simkv.kv.block import Run
from simkv.kv.runmap import RunSet
from simkv.request import Session


class Stretch(NamedTuple):
    """A stretch of a context. Equal contents are equal tokens, as far as the shorter one goes.

    Attributes
    ----------
    content : what names it.
    tokens : [tokens] in it.
    """

    content: Hashable
    tokens: int


Context = Sequence[Stretch]


class SentBytes(NamedTuple):
    """[bytes] of KV that each way sends, and of the metadata that a delta sends besides."""

    naive: int
    prefix_caching: int
    delta: int
    metadata: int


@dataclass(frozen=True, slots=True)
class ToSend:
    """What each way sends; sums of turns add up with `+`.

    Attributes
    ----------
    naive_tokens : [tokens] of the whole context.
    prefix_caching_tokens : [tokens] not in whole blocks that the receiver holds.
    delta_tokens : [tokens] at positions that the receiver does not hold.
    """

    naive_tokens: int = 0
    prefix_caching_tokens: int = 0
    delta_tokens: int = 0

    def __add__(self, other: ToSend) -> ToSend:
        """Return both together."""
        return ToSend(
            self.naive_tokens + other.naive_tokens,
            self.prefix_caching_tokens + other.prefix_caching_tokens,
            self.delta_tokens + other.delta_tokens,
        )

    @property
    def saving_over_naive(self) -> float:
        """1 - delta / naive; 0 for an empty context."""
        return 1 - self.delta_tokens / self.naive_tokens if self.naive_tokens else 0.0

    @property
    def saving_over_prefix_caching(self) -> float:
        """1 - delta / prefix caching; 0 where that sends nothing."""
        return 1 - self.delta_tokens / self.prefix_caching_tokens if self.prefix_caching_tokens else 0.0

    def sized(self, token_bytes: int, *, version_bytes: int = 0, importance_bytes: int = 0) -> SentBytes:
        """Return the same in bytes.

        Parameters
        ----------
        token_bytes : [bytes] of KV a token, by the model's shape.
        version_bytes : [bytes] that name the versions, once.
        importance_bytes : [bytes] of metadata with each position of the delta.

        Examples
        --------
        >>> ToSend(100, 40, 30).sized(36_864, version_bytes=64)
        SentBytes(naive=3686400, prefix_caching=1474560, delta=1105920, metadata=64)
        """
        return SentBytes(
            self.naive_tokens * token_bytes,
            self.prefix_caching_tokens * token_bytes,
            self.delta_tokens * token_bytes,
            version_bytes + importance_bytes * self.delta_tokens,
        )


def to_send(known: Iterable[Context], new: Context, block_tokens: int, *, independent: bool = False) -> ToSend:
    """Return what must be sent to a receiver that holds some versions of a context.

    Parameters
    ----------
    known : the versions that it holds; none = everything is new.
    new : the context that it needs.
    block_tokens : [tokens] a block of prefix caching.
    independent : stretches are position-independent chunks: each counts wherever it stands, by its own prefix, and
        one that is there whole needs nothing. Their reuse is no free lunch: blending costs (semantics B3).

    Examples
    --------
    Growth: the last block of the old version was partly filled, so prefix caching sends 4 old tokens again.

    >>> to_send([[Stretch("a", 20)]], [Stretch("a", 20), Stretch("b", 30)], 16)
    ToSend(naive_tokens=50, prefix_caching_tokens=34, delta_tokens=30)

    An edit in the middle, from token 10 of 50 on, makes all behind it new.

    >>> to_send([[Stretch("a", 50)]], [Stretch("a", 10), Stretch("b", 40)], 8)
    ToSend(naive_tokens=50, prefix_caching_tokens=42, delta_tokens=40)

    Chunks in another order: of an exact prefix nothing is left, position-independent ones are all there.

    >>> old, new = [Stretch("a", 32), Stretch("b", 16)], [Stretch("b", 16), Stretch("a", 32)]
    >>> to_send([old], new, 16).delta_tokens, to_send([old], new, 16, independent=True).delta_tokens
    (48, 0)
    """
    total = sum(stretch.tokens for stretch in new)
    if not independent:
        common = max((common_prefix_tokens(version, new) for version in known), default=0)
        return ToSend(total, total - common // block_tokens * block_tokens, total - common)
    longest: dict[Hashable, set[int]] = {}
    for version in known:
        for stretch in version:
            longest.setdefault(stretch.content, set()).add(stretch.tokens)
    blocks = positions = 0
    for content, tokens in new:
        held = longest.get(content, {0})
        common = min(max(held), tokens)
        positions += common
        blocks += tokens if tokens in held else common // block_tokens * block_tokens
    return ToSend(total, total - blocks, total - positions)


def common_prefix_tokens(old: Context, new: Context) -> int:
    """Return [tokens] up to the first difference, in content or in length.

    Examples
    --------
    >>> common_prefix_tokens([Stretch("a", 20), Stretch("b", 5)], [Stretch("a", 20), Stretch("b", 9)])
    25
    """
    common = 0
    for before, after in zip(old, new, strict=False):
        if before.content != after.content:
            return common
        common += min(before.tokens, after.tokens)
        if before.tokens != after.tokens:
            return common
    return common


@dataclass(frozen=True, slots=True)
class Recorded:
    """What each way sends for a session recorded as block runs.

    Attributes
    ----------
    versions_kept : the receiver keeps all versions (blocks that it ever got).
    last_kept : it keeps the prompt before alone.
    least_delta_tokens : [tokens] of a delta if the tail of the prompt before is never changed, which full blocks
        cannot tell; `versions_kept.delta_tokens` takes it as always changed. The truth is between the two.
    ideal_tokens : [tokens] in blocks never named before, wherever they stand: no order of chunks could need less.
    """

    versions_kept: ToSend
    last_kept: ToSend
    least_delta_tokens: int
    ideal_tokens: int


def recorded(session: Session, block_tokens: int) -> Recorded:
    """Return what a session's prompts would take to send, turn after turn, to a receiver that had none of it.

    Parameters
    ----------
    session : its turns name all full blocks of the prompt; an id stands for the content of a block and all before.
    block_tokens : [tokens] a block.

    Examples
    --------
    >>> from simkv.request import Turn
    >>> turns = Turn(5, 1, block_runs=(Run(0, 4),)), Turn(3, 1, block_runs=(Run(0, 4), Run(7, 2)))
    >>> found = recorded(Session("s", turns), 16)
    >>> found.versions_kept, found.least_delta_tokens
    (ToSend(naive_tokens=168, prefix_caching_tokens=104, delta_tokens=104), 99)
    """
    seen, last = RunSet(), RunSet()
    tails: dict[int, int] = {}  # tokens behind the last full block of an earlier prompt
    kept_all, kept_last = ToSend(), ToSend()
    least = ideal = 0
    for turn in session.turns:
        runs = turn.block_runs
        tokens = sum(run.count for run in runs) * block_tokens + turn.new_tokens
        leading, at = _leading(runs, seen)
        new = tokens - leading * block_tokens
        kept_all += ToSend(tokens, new, new)
        new_last = tokens - _leading(runs, last)[0] * block_tokens
        kept_last += ToSend(tokens, new_last, new_last)
        least += new - min(tails.get(at, 0), new)
        ideal += turn.new_tokens + block_tokens * sum(gap.count for run in runs for gap in seen.gaps(run))
        last = RunSet()
        for run in runs:
            seen.add(run)
            last.add(run)
        if runs:
            tails[runs[-1].end - 1] = turn.new_tokens
    return Recorded(kept_all, kept_last, least, ideal)


def _leading(runs: Iterable[Run], held: RunSet) -> tuple[int, int]:
    """Return how many blocks from the front are held, and the id of the last of them."""
    count, last = 0, -1
    for run in runs:
        gaps = held.gaps(run)
        whole = gaps[0].start - run.start if gaps else run.count
        if whole:
            count, last = count + whole, run.start + whole - 1
        if gaps:
            break
    return count, last
