"""A buffer of runs behaves, block by block, like the obvious buffer of single blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from simkv.kv.block import Run, joined
from simkv.kv.buffer import KvBuffer
from simkv.policies import EVICTION

BLOCK_BYTES = 10
IDS = 20


@dataclass
class Block:
    """What the reference knows of one block that is there."""

    arriving: bool
    mark: str | None
    pins: int = 0
    known: bool = False


class Reference:
    """A buffer of single blocks with nothing clever in it.

    `order` lists the blocks that may be evicted, the next to go first. What came or was used together goes from
    its end. A block that is in use when its turn comes leaves the list, and comes in anew when it is free.
    """

    def __init__(self, capacity: int, use_counts: bool) -> None:
        self.capacity = capacity
        self.use_counts = use_counts
        self.blocks: dict[int, Block] = {}
        self.order: list[int] = []
        self.evicted: list[tuple[int, str | None]] = []

    def reserve(self, run: Run, mark: str | None) -> bool:
        """Make room, block by block."""
        if run.count > sum(1 for b in self.blocks.values() if not (b.pins or b.arriving)) + self.free:
            return False
        while self.free < run.count:
            block = self.order.pop(0)
            if self.blocks[block].pins:
                self.blocks[block].known = False
            else:
                self.evicted.append((block, self.blocks.pop(block).mark))
        self.blocks.update({block: Block(arriving=True, mark=mark) for block in ids(run)})
        return True

    def arrive(self, run: Run, pin: bool) -> None:
        """Make what was reserved resident."""
        for block in reversed(ids(run)):
            self.blocks[block].arriving = False
            self.blocks[block].pins = int(pin)
            if not pin:
                self._offer(block)

    def release(self, run: Run, drop: bool) -> None:
        """End one use."""
        for block in reversed(ids(run)):
            state = self.blocks[block]
            state.pins -= 1
            if state.pins:
                continue
            if drop:
                self.remove(block)
            elif not state.known:
                self._offer(block)
            elif self.use_counts:
                self.order.remove(block)
                self.order.append(block)

    def remove(self, block: int) -> None:
        """Throw one block away."""
        del self.blocks[block]
        if block in self.order:
            self.order.remove(block)

    @property
    def free(self) -> int:
        """Blocks of room."""
        return self.capacity - len(self.blocks)

    def _offer(self, block: int) -> None:
        self.blocks[block].known = True
        self.order.append(block)


def ids(run: Run) -> range:
    """Return the blocks of a run."""
    return range(run.start, run.end)


def expanded(runs: list[Run]) -> list[int]:
    """Return the blocks of runs, which must not overlap and stand in order."""
    blocks = [block for run in runs for block in ids(run)]
    assert blocks == sorted(set(blocks))
    return blocks


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Draw a run of a few of the blocks."""
    start = draw(st.integers(0, IDS - 1))
    return Run(start, draw(st.integers(1, IDS - start)))


class BufferModel(RuleBasedStateMachine):
    """A KvBuffer beside the reference: the same calls, the same answers and evictions, in the same order."""

    policy: ClassVar[str] = "lru"

    @initialize(capacity=st.integers(4, 16))
    def start(self, capacity: int) -> None:
        """Begin empty."""
        self.evicted: list[tuple[int, object]] = []
        self.buffer = KvBuffer(
            capacity * BLOCK_BYTES + 7, BLOCK_BYTES, EVICTION.create(self.policy), lambda: 0.0, self._was_evicted
        )
        self.reference = Reference(capacity, use_counts=self.policy == "lru")
        self.uses: list[Run] = []

    def _was_evicted(self, run: Run, mark: object) -> None:
        self.evicted += [(block, mark) for block in reversed(ids(run))]

    @rule(run=runs(), mark=st.sampled_from([None, None, "a", "b"]))
    def reserve(self, run: Run, mark: str | None) -> None:
        """Take room for what is absent of a run; one part's room may evict what was resident of the run."""
        for gap in self.buffer.absent(run):
            assert self.buffer.reserve(gap, mark) == self.reference.reserve(gap, mark)

    @rule(run=runs(), pin=st.booleans())
    def arrive(self, run: Run, pin: bool) -> None:
        """Content comes for several reservations at once, or for parts of them."""
        for piece in joined(self.buffer.arriving(run)):
            self.buffer.arrive(piece, pin=pin)
            self.reference.arrive(piece, pin)
            if pin:
                self.uses.append(piece)

    @rule(run=runs())
    def abandon(self, run: Run) -> None:
        """Content does not come."""
        for piece in joined(self.buffer.arriving(run)):
            self.buffer.abandon(piece)
            for block in ids(piece):
                self.reference.remove(block)

    @rule(run=runs())
    def pin(self, run: Run) -> None:
        """Use what is resident, for the first time or again."""
        for piece in joined(self.buffer.survey(run).resident):
            self.buffer.pin(piece)
            self.uses.append(piece)
            for block in ids(piece):
                self.reference.blocks[block].pins += 1

    @rule(which=st.integers(0), split=st.integers(0), drop=st.booleans())
    def release(self, which: int, split: int, drop: bool) -> None:
        """End a use, or the use of its end."""
        if not self.uses:
            return
        run = self.uses.pop(which % len(self.uses))
        keep = split % run.count
        if keep:
            self.uses.append(Run(run.start, keep))
        ended = Run(run.start + keep, run.count - keep)
        self.buffer.release(ended, drop=drop)
        self.reference.release(ended, drop)

    @rule(run=runs())
    def unmark(self, run: Run) -> None:
        """Forget marks."""
        survey = self.buffer.survey(run)
        for piece in joined(sorted(survey.resident + survey.arriving)):
            self.buffer.unmark(piece)
            for block in ids(piece):
                self.reference.blocks[block].mark = None

    @rule(run=runs())
    def look(self, run: Run) -> None:
        """All questions about a run have the same answers."""
        there = {block: self.reference.blocks.get(block) for block in ids(run)}
        absent = [block for block, state in there.items() if state is None]
        arriving = [block for block, state in there.items() if state and state.arriving]
        resident = [block for block, state in there.items() if state and not state.arriving]
        marked = [(block, state.mark) for block, state in there.items() if state and state.mark]
        survey = self.buffer.survey(run)
        assert expanded(survey.absent) == expanded(self.buffer.absent(run)) == absent
        assert expanded(survey.arriving) == expanded(self.buffer.arriving(run)) == arriving
        assert expanded(survey.resident) == resident
        assert expanded(self.buffer.not_resident(run)) == sorted(absent + arriving)
        assert survey.idle_blocks == sum(not self.reference.blocks[block].pins for block in resident)
        assert survey.is_marked == bool(marked)
        assert [(block, mark) for piece, mark in self.buffer.marks(run) for block in ids(piece)] == marked
        assert self.buffer.leading(run) == min([block - run.start for block in absent + arriving], default=run.count)
        assert self.buffer.resident(run) == (len(resident) == run.count)

    @invariant()
    def equal(self) -> None:
        """The same blocks went in the same order, and every count adds up."""
        assert self.evicted == self.reference.evicted
        blocks = self.reference.blocks.values()
        assert self.buffer.used_blocks == len(blocks) <= self.buffer.capacity_blocks
        assert self.buffer.free_blocks == self.reference.free
        assert self.buffer.pinned_blocks == sum(1 for block in blocks if block.pins or block.arriving)

    def teardown(self) -> None:
        """Once nothing is in use, all that is there can be evicted, in the reference's order."""
        if not hasattr(self, "buffer"):
            return
        self.abandon(Run(0, IDS))
        for run in self.uses:
            self.buffer.release(run)
            self.reference.release(run, drop=False)
        self.buffer.check_all_free()
        everything = Run(IDS, self.buffer.capacity_blocks)
        assert self.buffer.reserve(everything)
        assert self.reference.reserve(everything, None)
        self.equal()


class FifoModel(BufferModel):
    """The same for first in, first out."""

    policy = "fifo"


laws = settings(max_examples=80, stateful_step_count=50, deadline=None, derandomize=True)
TestLru = BufferModel.TestCase
TestLru.settings = laws
TestFifo = FifoModel.TestCase
TestFifo.settings = laws
