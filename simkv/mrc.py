"""How often would a buffer of so many blocks hit? A trace's block accesses, replayed without time or links.

Every block that a prompt names is accessed, from its root to its leaf; a block that is not there comes in, and the
eviction policy says what leaves. This is what a cache simulator does with single blocks; here whole runs go through the
buffer that the simulation uses, and the counts are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from simkv.errors import InputError
from simkv.kv.block import Run, joined
from simkv.kv.buffer import KvBuffer
from simkv.kv.prefix import Content, Conversation
from simkv.kv.runmap import RunSet
from simkv.policies.eviction.question import EVICTION, Coming, Eviction, Foreseeing, Foretold
from simkv.scenario.document import core_scalar
from simkv.scenario.misfit import Misfit
from simkv.scenario.plugins import read
from simkv.workload import Trace, open_trace

DEFAULT_POLICIES = ("belady", "fifo", "lfu", "lru")
_A_DECADE = (1, 2, 5)  # sizes of the default grid in each power of ten
_ONE = Coming(1)


class Access(NamedTuple):
    """When a prompt comes [s], and the blocks that it names, root to leaf."""

    at_s: float
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """What one policy hits with one size.

    Attributes
    ----------
    policy : its name.
    blocks : how many blocks the buffer holds; None = as many as there are.
    hits : accesses to resident blocks.
    prefix_hits : those of them with no miss before them in their prompt.
    """

    policy: str
    blocks: int | None
    hits: int
    prefix_hits: int


@dataclass(frozen=True, slots=True)
class HitCounts:
    """Hits by policy and size: `results` over `accesses`.

    Attributes
    ----------
    accesses : block accesses that count.
    unique : different blocks among all accesses.
    infinite_hits : accesses that count, to blocks that were accessed before.
    results : by policy, and by size.
    """

    accesses: int
    unique: int
    infinite_hits: int
    results: tuple[Point, ...]

    def to_json(self) -> dict[str, object]:
        """Return the counts as `simkv trace mrc --json` prints them."""
        return asdict(self) | {"results": [asdict(point) for point in self.results]}


def accesses(trace: Trace) -> list[Access]:
    """Return the block accesses of a trace in order of time, answers taking none.

    Sessions without a recorded start follow one another.

    Raises
    ------
    InputError : the trace is not valid, or names no blocks.
    """
    content = Content(trace.header)
    found: list[Access] = []
    end_s = 0.0
    for index, session in enumerate(trace.sessions()):
        conversation = Conversation(session, index if trace.header.has_sessions else 0, content)
        at_s = session.start_s if session.start_s is not None else end_s
        for turn, runs in zip(session.turns, conversation.accesses(), strict=True):
            at_s += turn.think_s
            named = [run for run in (*runs, *conversation.last_block(turn)) if run.count]
            found.append(Access(at_s, joined(named)))
        end_s = max(end_s, at_s)
    if not any(access.runs for access in found):
        raise InputError("no prompt of the trace names a block", str(trace.path))
    found.sort(key=lambda access: access.at_s)  # stable: what comes together stays in order
    return found


def hit_counts(
    path: Path | str,
    policies: Sequence[str] = DEFAULT_POLICIES,
    blocks: Sequence[int] | None = None,
    warmup: int = 0,
) -> HitCounts:
    """Replay a trace under each policy with each size, and with as much room as there are blocks.

    Parameters
    ----------
    path : a trace of any format.
    policies : eviction policies, by name; parameters may stand behind it (`ttl:ttl=30 s`).
    blocks : sizes; None = 1, 2, 5, 10, 20, ... below the number of different blocks.
    warmup : how many prompts, from the first on, are replayed and not counted.

    Raises
    ------
    InputError : no such policy, a bad size, or a trace that is not valid.
    """
    return counted(accesses(open_trace(path)), policies, blocks, warmup)


def counted(
    order: Sequence[Access],
    policies: Sequence[str] = DEFAULT_POLICIES,
    blocks: Sequence[int] | None = None,
    warmup: int = 0,
) -> HitCounts:
    """Do what `hit_counts` does, with accesses at hand.

    Examples
    --------
    >>> order = [Access(0.0, (Run(0, 3),)), Access(1.0, (Run(0, 2), Run(7, 1)))]
    >>> counted(order, ["lru"], [2]).to_json()["results"][0]
    {'policy': 'lru', 'blocks': 2, 'hits': 0, 'prefix_hits': 0}
    """
    for told in policies:
        policy_of(told)
    if warmup < 0 or warmup >= len(order):
        raise InputError(f"want a warm-up of fewer than the {len(order)} prompts of the trace, got {warmup}")
    total, unique, infinite_hits = _reach(order, warmup)
    sizes: list[int | None] = [*(_grid(unique) if blocks is None else sorted(set(blocks))), None]
    for size in sizes:
        if size is not None and size < 1:
            raise InputError(f"want sizes of at least 1 block, got {size}")
    points = []
    for told in policies:
        for size in sizes:
            counts = replay(order, policy_of(told), min(size or unique, unique), warmup)
            points.append(Point(told, size, *counts))
    return HitCounts(total, unique, infinite_hits, tuple(points))


def policy_of(told: str) -> Eviction:
    """Return a policy by its name, with parameters behind it as in YAML.

    Raises
    ------
    InputError : no such policy or parameter, or a value that does not fit.

    Examples
    --------
    >>> policy_of("ttl:ttl=30 s:renew=false")
    Ttl(ttl_s=30.0, renew=False)
    """
    name, *pairs = told.split(":")
    given: dict[str, object] = {"name": name}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"want NAME:PARAMETER=VALUE, got {pair!r}", f"--policy {told}")
        given[key.strip()] = core_scalar(value.strip())
    try:
        return EVICTION.create(*read("eviction", given))
    except Misfit as misfit:
        raise InputError(misfit.message, f"--policy {told}") from None


def _reach(order: Sequence[Access], warmup: int) -> tuple[int, int, int]:
    """Return how many accesses count, how many blocks there are, and how many accesses hit where all are kept."""
    seen = RunSet()
    total = unique = hits = 0
    for index, access in enumerate(order):
        for run in access.runs:
            fresh = sum(gap.count for gap in seen.gaps(run))
            seen.add(run)
            unique += fresh
            if index >= warmup:
                total += run.count
                hits += run.count - fresh
    return total, unique, hits


def _grid(unique: int) -> list[int]:
    """Return the default sizes.

    Examples
    --------
    >>> _grid(42)
    [1, 2, 5, 10, 20]
    """
    decades = range(len(str(unique)))
    return [step * 10**decade for decade in decades for step in _A_DECADE if step * 10**decade < unique]


def replay(order: Iterable[Access], policy: Eviction, blocks: int, warmup: int = 0) -> tuple[int, int]:
    """Return hits and prefix hits of one policy in a buffer of so many blocks."""
    if isinstance(policy, Foreseeing):
        order = list(order)
        policy.foresee([(run,) for access in order for run in access.runs])
    replayed = _Replay(policy, blocks)
    for index, access in enumerate(order):
        replayed.play(access, counts=index >= warmup)
    return replayed.hits, replayed.prefix_hits


class _Replay:
    """Accesses of single blocks, played in runs.

    A buffer evicts from the end of a run, and blocks are accessed from the root: what was accessed first leaves
    first. So ids are mirrored (block b is -1 - b), and the end of a run is its root. Not for oracles of the order of
    accesses: of blocks that are used together again, it is the leaf that is used last.
    """

    def __init__(self, policy: Eviction, blocks: int) -> None:
        self.hits = self.prefix_hits = 0
        self._now_s = 0.0
        self._is_mirrored = not isinstance(policy, Foreseeing)
        self._policy = policy if isinstance(policy, Foretold) else None
        self._buffer = KvBuffer(blocks, 1, policy, lambda: self._now_s)

    def play(self, access: Access, *, counts: bool) -> None:
        """Access every block of a prompt, root to leaf."""
        self._now_s = access.at_s
        hits, prefix_hits = 0, -1
        for start, count in access.runs:
            left = Run(-start - count, count) if self._is_mirrored else Run(start, count)
            while left[1]:
                gap, after = self._first_gap(left)
                used = left[1] - after[1] - gap[1]
                if used:
                    self._use(left, used)
                    hits += used
                if gap[1]:
                    if prefix_hits < 0:
                        prefix_hits = hits
                    self._bring(gap)
                left = after
        if counts:
            self.hits += hits
            self.prefix_hits += hits if prefix_hits < 0 else prefix_hits

    def _first_gap(self, run: Run) -> tuple[Run, Run]:
        """Return the first blocks on the way through `run` that are absent, and all that comes after them."""
        start, count = run
        gaps = self._buffer.absent(run)
        if not gaps:
            return Run(start, 0), Run(start, 0)
        if self._is_mirrored:
            gap = gaps[-1]
            return gap, Run(start, gap[0] - start)
        gap = gaps[0]
        end = gap[0] + gap[1]
        return gap, Run(end, start + count - end)

    def _use(self, run: Run, count: int) -> None:
        """Use the first blocks on the way through `run`, which are resident."""
        self._buffer.touch(self._first(run, count))

    def _bring(self, gap: Run) -> None:
        """Let absent blocks in, as many at once as is the same as one by one."""
        buffer, policy = self._buffer, self._policy
        while gap[1]:
            if policy is None:
                coming = _ONE
            elif free := buffer.capacity_blocks - buffer.used_blocks:
                coming = Coming(free)
            else:
                coming = policy.coming(gap)
            piece = self._first(gap, min(coming[0], gap[1]))
            if coming[1]:
                buffer.reserve(piece, pin=True)
                buffer.release(piece)
            elif policy is not None:
                policy.passed(piece, self._now_s)
            left = gap[1] - piece[1]
            gap = Run(gap[0], left) if self._is_mirrored else Run(gap[0] + piece[1], left)

    def _first(self, run: Run, count: int) -> Run:
        """Return the first blocks on the way through `run`."""
        if count == run[1]:
            return run
        return Run(run[0] + run[1] - count, count) if self._is_mirrored else Run(run[0], count)
