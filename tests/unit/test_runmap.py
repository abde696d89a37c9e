"""Runs of block ids behave like the plain dictionary, or set, of blocks that they stand for."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from simkv.kv.block import Run, joined, overlap
from simkv.kv.runmap import REGION_BLOCKS, RunMap, RunSet

Blocks = dict[int, str]

#: Ids near the border between two regions, so that both sides of it are in play.
WIDTH = 24
BORDER = 5 * REGION_BLOCKS


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Draw a run that lies in one region: before or behind the border."""
    base = draw(st.sampled_from([BORDER - WIDTH, BORDER]))
    start = draw(st.integers(0, WIDTH - 1))
    return Run(base + start, draw(st.integers(1, WIDTH - start)))


def ids(run: Run) -> range:
    """Return the blocks of a run."""
    return range(run.start, run.end)


def blocks_of(pieces: list[tuple[Run, str]]) -> Blocks:
    """Return what pieces stand for, block by block; none may be there twice."""
    found = {block: value for run, value in pieces for block in ids(run)}
    assert len(found) == sum(run.count for run, _ in pieces)
    return found


def is_in_order(pieces: list[Run]) -> bool:
    """Return whether disjoint runs follow each other in order of id."""
    return all(run.count > 0 for run in pieces) and all(a.end <= b.start for a, b in pairwise(pieces))


class MapModel(RuleBasedStateMachine):
    """A RunMap beside a dictionary of block -> value."""

    @initialize()
    def start(self) -> None:
        """Begin with nothing."""
        self.map: RunMap[str] = RunMap()
        self.model: Blocks = {}

    @rule(run=runs(), value=st.text("abc", min_size=1, max_size=1))
    def put_in_gaps(self, run: Run, value: str) -> None:
        """Fill what is free of a run: `put` asks for runs that overlap none."""
        for gap in self.map.gaps(run):
            self.map.put(gap, value)
        for block in ids(run):
            self.model.setdefault(block, value)

    @rule(run=runs())
    def take(self, run: Run) -> None:
        """What is taken is exactly what was inside, cut to the run, in order."""
        taken = self.map.take(run)
        assert is_in_order([piece for piece, _ in taken])
        assert blocks_of(taken) == {block: self.model.pop(block) for block in ids(run) if block in self.model}

    @rule(which=st.integers(0))
    def remove(self, which: int) -> None:
        """A stored run goes as it stands, and its value comes back."""
        stored = list(self.map)
        if stored:
            run, value = stored[which % len(stored)]
            assert self.map.remove(run) == value
            assert {self.model.pop(block) for block in ids(run)} == {value}

    @rule(run=runs())
    def look(self, run: Run) -> None:
        """Every question about a run is answered as the dictionary answers it."""
        before = list(self.map)
        found = self.map.overlapping(run)
        assert found == [(piece, value) for piece, value in before if overlap(piece, run)]
        missing = [block for block in ids(run) if block not in self.model]
        gaps = self.map.gaps(run)
        assert [block for gap in gaps for block in ids(gap)] == missing
        assert joined(gaps) == tuple(gaps), "gaps are as long as they can be"
        assert self.map.exactly(run) == dict(before).get(run)
        assert list(self.map) == before, "looking changes nothing"

    @invariant()
    def equal(self) -> None:
        """The map stands for the dictionary, in order of id."""
        stored = list(self.map)
        assert is_in_order([run for run, _ in stored])
        assert blocks_of(stored) == self.model
        assert len(self.map) == len(stored)


class SetModel(RuleBasedStateMachine):
    """A RunSet beside a set of blocks."""

    @initialize()
    def start(self) -> None:
        """Begin with nothing."""
        self.set = RunSet()
        self.model: set[int] = set()

    @rule(run=runs())
    def add(self, run: Run) -> None:
        """Adding is union, whatever it overlaps or touches."""
        self.set.add(run)
        self.model.update(ids(run))

    @rule(run=runs())
    def take(self, run: Run) -> None:
        """Taking is difference, and tells what was there."""
        taken = [block for piece, _ in self.set.take(run) for block in ids(piece)]
        assert taken == [block for block in ids(run) if block in self.model]
        self.model.difference_update(ids(run))

    @rule(run=runs())
    def look(self, run: Run) -> None:
        """A run has no gap when the set has all its blocks."""
        assert (not self.set.gaps(run)) == self.model.issuperset(ids(run))

    @invariant()
    def fewest_runs(self) -> None:
        """The blocks are those of the set, in the fewest runs that cross no border between regions."""
        stored = [run for run, _ in self.set]
        assert is_in_order(stored)
        assert {block for run in stored for block in ids(run)} == self.model
        assert all(a.end < b.start or b.start == BORDER for a, b in pairwise(stored))


TestMapModel = MapModel.TestCase
TestMapModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
TestSetModel = SetModel.TestCase
TestSetModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)


@given(st.lists(runs(), max_size=6))
def test_joined_keeps_blocks_and_their_order(pieces: list[Run]) -> None:
    """Joining changes where runs end, never which block follows which."""
    found = joined(pieces)
    assert [b for run in found for b in ids(run)] == [b for run in pieces for b in ids(run)]
    assert all(a.end != b.start for a, b in pairwise(found))


@given(runs(), runs())
def test_overlap_is_intersection(a: Run, b: Run) -> None:
    """The overlap of two runs holds the blocks of both."""
    both = overlap(a, b)
    assert set(ids(both) if both else ()) == set(ids(a)) & set(ids(b))


def test_taking_the_middle_leaves_both_ends_with_its_value() -> None:
    """A cut run keeps its value on both sides."""
    held: RunMap[str] = RunMap()
    held.put(Run(10, 10), "a")
    assert held.take(Run(13, 4)) == [(Run(13, 4), "a")]
    assert list(held) == [(Run(10, 3), "a"), (Run(17, 3), "a")]
    assert held.exactly(Run(10, 3)) == "a"
    assert held.exactly(Run(10, 4)) is None


def test_regions_do_not_see_each_other() -> None:
    """The last block of one region and the first of the next are neighbours by number alone."""
    held = RunSet()
    held.add(Run(BORDER - 1, 1))
    held.add(Run(BORDER, 1))
    assert [run for run, _ in held] == [Run(BORDER - 1, 1), Run(BORDER, 1)]


def test_what_is_empty_is_forgotten() -> None:
    """A map does not grow with the documents and conversations that have passed."""
    held: RunMap[None] = RunMap()
    for region in range(100):
        held.put(Run(region * REGION_BLOCKS, 4), None)
        held.take(Run(region * REGION_BLOCKS, 4))
    assert len(held) == 0
    assert not held._regions
