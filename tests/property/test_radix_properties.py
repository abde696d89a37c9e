"""The paged pool of runs does what a pool of blocks does, whatever is asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from simkv.compute.sequence import GpuSequence
from simkv.kv.radix import BlockPool, PagedContent
from tests.property.block_by_block import Owner, Pool, own_ids

law = settings(max_examples=300, deadline=None, derandomize=True)


@dataclass(eq=False)
class Asking:
    """One sequence in both pools."""

    sequence: GpuSequence
    owner: Owner
    hidden_from: int = 0
    """Place of the first block of its answer: nobody asks for it before the answer has ended, or was lost."""

    @property
    def computed(self) -> int:
        """Its tokens that have KV."""
        return self.sequence.context_tokens


class Both:
    """A pool of runs and a pool of blocks, to which the same happens."""

    def __init__(self, blocks: int, size: int, reserve_prompt: bool) -> None:
        self.runs = BlockPool(blocks, size, reserve_prompt=reserve_prompt)
        self.blocks = Pool(blocks, size, reserve_prompt)
        self.size = size
        self.waiting: list[Asking] = []
        self.running: list[Asking] = []
        self.hidden: set[int] = set()
        self.asked = 0

    def ask(self, ids: list[int], tail_tokens: int, answer_is_asked: bool) -> None:
        """Let a sequence wait: of a prompt of full blocks and what follows them."""
        self.asked += 1
        owner = Owner(ids, own_ids(self.asked))
        content = PagedContent(owner.runs, owner.own_start, answer_is_asked)
        tokens = max(1, len(ids) * self.size + tail_tokens)
        sequence = GpuSequence(tokens, output_tokens=1000, content=content, on_finished=lambda: None)
        self.waiting.append(Asking(sequence, owner))

    def admit(self, asking: Asking, budget_tokens: int) -> None:
        total = asking.sequence.prefill_left_tokens
        new = self.runs.admit(asking.sequence, budget_tokens)
        cached, expected = self.blocks.admit(asking.owner, total, budget_tokens)
        assert new == expected
        if new:
            assert asking.sequence.context_tokens == cached
            self.computes(asking, new)
            asking.hidden_from = total // self.size
            self.waiting.remove(asking)
            self.running.append(asking)

    def computes(self, asking: Asking, tokens: int) -> None:
        asking.sequence.context_tokens += tokens
        asking.sequence.prefill_left_tokens -= tokens

    def extend(self, asking: Asking, most: int) -> None:
        tokens = min(asking.sequence.prefill_left_tokens, most)
        fits = self.runs.extend(asking.sequence, tokens)
        assert fits == self.blocks.take(asking.owner, asking.computed + tokens)
        if fits:
            self.computes(asking, tokens)

    def decode(self, asking: Asking, tokens: int) -> None:
        """Compute tokens of an answer one by one, as far as there is room."""
        for _ in range(tokens):
            wants = asking.computed % self.size == 0
            if wants and not self.runs.free_blocks:
                assert not self.blocks.free
                return
            if wants:
                self.runs.grow(1)
            assert self.blocks.take(asking.owner, asking.computed + 1)
            asking.sequence.context_tokens += 1

    def preempt(self, asking: Asking) -> None:
        """Take its memory; it waits again, for all that it has computed and a token more."""
        kv_tokens = asking.computed
        asking.sequence.prefill_left_tokens += kv_tokens + (not asking.sequence.prefill_left_tokens)
        asking.sequence.context_tokens = 0
        self.runs.release(asking.sequence, kv_tokens)
        self.blocks.release(asking.owner)
        self.running.remove(asking)
        self.waiting.append(asking)

    def end(self, asking: Asking) -> None:
        if not asking.owner.shadowed and not asking.sequence.content.answer_is_asked:
            self.hidden |= {asking.owner.content(i) for i in range(asking.hidden_from, len(asking.owner.blocks))}
        self.runs.release(asking.sequence, asking.computed)
        self.blocks.release(asking.owner)
        self.running.remove(asking)

    def compare(self) -> None:
        """As many are free, and the same content is there."""
        self.runs.check()
        assert self.runs.free_blocks == len(self.blocks.free)
        cached = {node.start + place for node in self.runs._nodes.values() for place in range(node.count)}
        assert sum(node.count for node in self.runs._nodes.values()) == len(cached)  # nothing twice
        answers = {a.owner.content(i) for a in self.running for i in range(a.hidden_from, len(a.owner.blocks))}
        unseen = self.hidden | answers
        assert cached - unseen == set(self.blocks.block_of) - unseen
        assert self.runs.evicted_blocks == len(
            [content for content in self.blocks.evicted if content not in self.hidden]
        )


@st.composite
def trees(draw: Any) -> list[list[int]]:
    """Draw prompts, as ids of full blocks, each of which parts from one before somewhere, with ids that are new."""
    prompts: list[list[int]] = [[]]
    fresh = 0
    for _ in range(draw(st.integers(1, 6))):
        before = draw(st.sampled_from(prompts))
        front = before[: draw(st.integers(0, len(before)))]
        count = draw(st.integers(0, 8))
        prompts.append(front + list(range(fresh, fresh + count)))
        fresh += count + draw(st.integers(0, 1))
    return prompts


@law
@given(st.data(), st.integers(1, 24), st.integers(1, 4), st.booleans(), trees())
def test_runs_are_blocks(
    data: st.DataObject, blocks: int, size: int, reserve_prompt: bool, prompts: list[list[int]]
) -> None:
    """Equal hits, equal free blocks, equal cached content and evictions after each of many operations."""
    both = Both(blocks, size, reserve_prompt)
    for _ in range(data.draw(st.integers(1, 40))):
        step(both, data, prompts)
        both.compare()
    for asking in list(both.running):
        both.end(asking)
        both.compare()
    assert both.runs.free_blocks == blocks


def step(both: Both, data: st.DataObject, prompts: list[list[int]]) -> None:
    """Do one thing to both."""
    what = data.draw(st.sampled_from(["ask", "admit", "admit", "go on", "go on", "preempt", "end"]))
    if what == "ask":
        both.ask(data.draw(st.sampled_from(prompts)), data.draw(st.integers(0, 5)), data.draw(st.booleans()))
    elif what == "admit" and both.waiting:
        both.admit(data.draw(st.sampled_from(both.waiting)), data.draw(st.integers(1, 40)))
    elif what not in ("ask", "admit") and both.running:
        asking = data.draw(st.sampled_from(both.running))
        if what == "preempt":
            both.preempt(asking)
        elif what == "end" and not asking.sequence.prefill_left_tokens:
            both.end(asking)
        elif asking.sequence.prefill_left_tokens:
            both.extend(asking, data.draw(st.integers(1, 40)))
        else:
            both.decode(asking, data.draw(st.integers(1, 12)))
