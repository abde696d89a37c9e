"""vLLM's block pool and scheduler, told block by block and step by step: what the engine is compared with.

No events, no sums, no runs: every block has a number, every step walks every sequence, time is a float that grows.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, NamedTuple

from simkv.compute.steptime import StepTime
from simkv.kv.block import Run, joined


class Owner:
    """Somebody's blocks: ids of what they hold, front to back, and their numbers."""

    def __init__(self, ids: list[int], own_start: int) -> None:
        self.ids = ids
        self.own_start = own_start
        self.blocks: list[int] = []
        self.named = 0
        self.shadowed = False

    def content(self, place: int) -> int:
        """Return what the block at a place holds once it is full."""
        return self.ids[place] if place < len(self.ids) else self.own_start + place - len(self.ids)

    @property
    def runs(self) -> tuple[Run, ...]:
        """The ids as runs."""
        return joined(Run(block, 1) for block in self.ids)


class Pool:
    """Blocks by number, a free queue, and which block holds what.

    One rule is simkv's own: who comes to a block whose content another's block holds already (both computed it at
    once) has its blocks from there on in nobody's reach. vLLM reaches those behind it, if no block between is lost.
    """

    def __init__(self, blocks: int, size: int, reserve_prompt: bool = True, caches: bool = True) -> None:
        self.size = size
        self.reserve_prompt = reserve_prompt
        self.caches = caches
        self.free = OrderedDict((block, None) for block in range(blocks))
        self.users = [0] * blocks
        self.block_of: dict[int, int] = {}
        self.content_of: dict[int, int] = {}
        self.evicted: list[int] = []

    def look_up(self, owner: Owner, tokens: int) -> list[int]:
        """Return the blocks that hold the front of what so many tokens need; the last token is always computed."""
        found: list[int] = []
        for place in range((tokens - 1) // self.size if self.caches else 0):
            block = self.block_of.get(owner.content(place))
            if block is None:
                break
            found.append(block)
        return found

    def admit(self, owner: Owner, total: int, budget: int) -> tuple[int, int]:
        """Return (cached, new) tokens of the first chunk; new = 0 where there is no room."""
        hit = self.look_up(owner, total)
        cached = len(hit) * self.size
        new = min(total - cached, budget)
        upto = total if self.reserve_prompt else cached + new
        if -(-upto // self.size) - len(hit) + sum(block in self.free for block in hit) > len(self.free):
            return cached, 0
        for block in hit:
            self.free.pop(block, None)
            self.users[block] += 1
        owner.blocks, owner.named = list(hit), len(hit)
        assert self.take(owner, cached + new)
        return cached, new

    def take(self, owner: Owner, tokens: int) -> bool:
        """Take blocks until so many tokens have room, and name those that they fill; False where there are too few."""
        need = -(-tokens // self.size) - len(owner.blocks)
        if need > len(self.free):
            return False
        for _ in range(need):
            block, _ = self.free.popitem(last=False)
            content = self.content_of.pop(block, None)
            if content is not None:
                del self.block_of[content]
                self.evicted.append(content)
            self.users[block] = 1
            owner.blocks.append(block)
        while self.caches and not owner.shadowed and owner.named < tokens // self.size:
            block, content = owner.blocks[owner.named], owner.content(owner.named)
            if content in self.block_of:
                owner.shadowed = True
            else:
                self.block_of[content], self.content_of[block] = block, content
                owner.named += 1
        return True

    def release(self, owner: Owner) -> None:
        """Give all back, the tail first."""
        for block in reversed(owner.blocks):
            self.users[block] -= 1
            if not self.users[block]:
                self.free[block] = None
        owner.blocks, owner.named, owner.shadowed = [], 0, False


class Job(NamedTuple):
    """A sequence, and what is done to it; None = nothing."""

    at_s: float
    ids: list[int] | None
    """Of the full blocks that it shares with others; None = its memory is held by whoever submits it."""
    prompt_tokens: int
    output_tokens: int
    priority: int
    speculative: bool = False
    promote_after_s: float | None = None
    cancel_after_s: float | None = None


class Rules(NamedTuple):
    """The inputs of an engine."""

    blocks: int
    block_tokens: int
    token_budget: int
    max_sequences: int
    by_priority: bool
    async_scheduling: bool
    leftover: bool
    speculative_step_tokens: int = 8


class Asked:
    """One sequence of the loop."""

    def __init__(self, name: int, job: Job) -> None:
        self.name = name
        self.job = job
        self.owner = Owner(job.ids, own_ids(name)) if job.ids is not None else None
        self.rank = 0.0
        self.number = self.admission = 0
        self.emitted = 0  # scheduled, if not there yet
        self.computed = 0
        self.target = job.prompt_tokens  # what is to be computed as a prefill
        self.speculative = job.speculative
        self.cancelled = False
        self.preemptions = self.found = 0
        self.interference_s = self.speculative_s = 0.0

    @property
    def all_is_formed(self) -> bool:
        """Whether its last token is in a step that is formed."""
        return self.computed >= self.target and self.emitted >= self.job.output_tokens


def own_ids(name: int) -> int:
    """Return the first id of the blocks that one sequence alone asks for."""
    return (1 << 40) + (name << 20)


class Share(NamedTuple):
    """What one sequence computes in a step."""

    asked: Asked
    new: int
    cached: int
    is_prefill: bool
    emits: bool
    ends: bool


class Loop:
    """An engine, told as a loop over steps; `said` is (time, who, what) in the order of happening."""

    def __init__(self, jobs: list[Job], rules: Rules, price: StepTime) -> None:
        self.rules = rules
        self.price = price
        self.pool = Pool(rules.blocks, rules.block_tokens)
        self.now_s = 0.0
        self.running: list[Asked] = []
        self.waiting: list[Asked] = []
        self.speculative: deque[Asked] = deque()
        self.current: Asked | None = None
        self.formed: deque[list[Share]] = deque()
        self.due: list[tuple[float, int, Callable[[], None] | None]] = []
        self.numbers = self.admissions = self.steps = self.preemptions = 0
        self.demand_s = self.speculative_s = 0.0
        self.said: list[tuple[float, int, str]] = []
        self.all = [Asked(name, job) for name, job in enumerate(jobs)]
        for asked in self.all:
            self.later(asked.job.at_s, lambda asked=asked: self.ask(asked))

    def say(self, asked: Asked, what: str) -> None:
        """Note that something has happened for the first time."""
        if not any(name == asked.name and known == what for _, name, known in self.said):
            self.said.append((self.now_s, asked.name, what))

    # -- what comes from outside -----------------------------------------------------------------------------------

    def later(self, at_s: float, act: Callable[[], None]) -> None:
        self.due.append((at_s, len(self.due), act))

    def act_before(self, until_s: float, inclusive: bool) -> None:
        """Do all that is due before a moment, or at it as well, in its order."""
        while True:
            ready = [due for due in self.due if due[2] and (due[0] < until_s or (inclusive and due[0] == until_s))]
            if not ready:
                return
            at_s, place, act = min(ready, key=lambda due: due[:2])
            self.due[place] = (at_s, place, None)
            self.now_s = at_s
            assert act is not None
            act()

    def ask(self, asked: Asked) -> None:
        if asked.speculative:
            self.speculative.append(asked)
        else:
            self.push(asked)
        for after_s, act in ((asked.job.promote_after_s, self.promote), (asked.job.cancel_after_s, self.cancel)):
            if after_s is not None:
                self.later(self.now_s + after_s, lambda act=act: act(asked))

    def push(self, asked: Asked) -> None:
        self.numbers += 1
        asked.number = self.numbers
        asked.rank = float(asked.job.priority) if self.rules.by_priority else 0.0
        self.waiting.append(asked)

    def promote(self, asked: Asked) -> None:
        if asked.speculative and not asked.cancelled:
            asked.speculative = False
            if asked is not self.current and asked in self.speculative:
                self.speculative.remove(asked)
                self.push(asked)

    def cancel(self, asked: Asked) -> None:
        if asked.speculative and not asked.cancelled:
            asked.cancelled = True
            if asked is not self.current and asked in self.speculative:
                self.speculative.remove(asked)
                self.say(asked, "finished")

    # -- who is in a step ------------------------------------------------------------------------------------------

    def schedule(self) -> tuple[list[tuple[Asked, int]], bool]:
        """Walk those that run, then those that wait; return who computes how much, and whether one was preempted."""
        before = self.preemptions
        batch = self.walk_running()
        preempted = self.preemptions > before
        if not preempted:
            self.admit_waiting(batch)
        return batch, preempted

    def left(self, batch: list[tuple[Asked, int]]) -> int:
        """Return the tokens that are left of the budget."""
        return self.rules.token_budget - sum(tokens for _, tokens in batch)

    def walk_running(self) -> list[tuple[Asked, int]]:
        batch: list[tuple[Asked, int]] = []
        for asked in list(self.running):
            if asked not in self.running or asked.all_is_formed or not self.left(batch):
                continue
            new = min(asked.job.prompt_tokens + asked.emitted - asked.computed, self.left(batch))
            while asked in self.running and asked.owner and not self.pool.take(asked.owner, asked.computed + new):
                victim = self.victim()
                batch = [(other, tokens) for other, tokens in batch if other is not victim]
                self.preempt(victim)
            if asked in self.running:
                batch.append((asked, new))
        return batch

    def admit_waiting(self, batch: list[tuple[Asked, int]]) -> None:
        while self.waiting and self.left(batch) and len(self.running) < self.rules.max_sequences:
            asked = min(self.waiting, key=lambda asked: (asked.rank, asked.number))
            target = asked.job.prompt_tokens + asked.emitted
            cached, new = asked.computed, min(target - asked.computed, self.left(batch))
            if asked.owner:
                cached, new = self.pool.admit(asked.owner, target, self.left(batch))
                if not new:
                    return
                if not asked.admission:
                    asked.found = cached
            self.waiting.remove(asked)
            self.running.append(asked)
            self.admissions += 1
            asked.admission, asked.target, asked.computed = self.admissions, target, cached
            batch.append((asked, new))

    def victim(self) -> Asked:
        """Return the last of those that run: by rank, and of equals the one admitted last."""
        running = (asked for asked in self.running if asked.owner)
        return max(running, key=lambda asked: (asked.rank, asked.admission))

    def preempt(self, asked: Asked) -> None:
        assert asked.owner is not None
        self.preemptions += 1
        asked.preemptions += 1
        self.running.remove(asked)
        self.pool.release(asked.owner)
        if not asked.all_is_formed:  # else its last token is on its way, and needs no memory more
            asked.computed = 0
            self.waiting.append(asked)

    def form(self) -> list[Share] | None:
        """Decide a step; None where nobody can run."""
        batch, preempted = self.schedule()
        if not batch and preempted and not self.formed:
            batch, _ = self.schedule()  # an empty step takes no time
        shares = []
        for asked, new in batch:
            cached, is_prefill = asked.computed, asked.computed < asked.target
            asked.computed += new
            emits = asked.computed >= asked.target and asked.job.output_tokens > 0 and not asked.speculative
            asked.emitted += emits
            shares.append(Share(asked, new, cached, is_prefill, emits, asked.all_is_formed))
        for share in shares:
            self.say(share.asked, "scheduled")
        return shares or None

    # -- time ------------------------------------------------------------------------------------------------------

    def run(self) -> Loop:
        while True:
            self.act_before(self.now_s, inclusive=True)
            while len(self.formed) <= self.rules.async_scheduling:
                shares = self.form()
                if shares is None:
                    break
                self.formed.append(shares)
            if self.formed:
                self.step(self.formed.popleft())
            elif self.speculative:
                self.speculative_step()
            elif any(due[2] for due in self.due):
                self.now_s = min(due[0] for due in self.due if due[2])
            else:
                assert not self.running
                assert not self.waiting
                return self

    def pass_time(self, duration_s: float) -> None:
        end_s = self.now_s + duration_s
        self.act_before(end_s, inclusive=False)
        self.now_s = end_s

    @staticmethod
    def told_of(shares: list[Share]) -> tuple[list[tuple[int, int]], tuple[int, int, int, int]]:
        """Return what the price list is told of a step."""
        chunks = [(share.new, share.cached) for share in shares if share.is_prefill]
        reads = [share.cached for share in shares if not share.is_prefill]
        return chunks, (len(reads), sum(reads), sum(share.emits for share in shares), max(reads, default=0))

    def step(self, shares: list[Share]) -> None:
        chunks, told = self.told_of(shares)
        demand_s = self.price.step(chunks, *told)
        tokens = sum(share.new for share in shares)
        if self.rules.leftover and self.speculative and tokens < self.rules.token_budget:
            self.speculate(min(self.speculative[0].target, self.rules.token_budget - tokens), chunks, told, shares)
        else:
            self.pass_time(demand_s)
        self.steps += 1
        self.demand_s += demand_s
        for share in shares:
            if share.ends and share.asked in self.running:
                self.running.remove(share.asked)
                if share.asked.owner:
                    self.pool.release(share.asked.owner)
        for asked in [share.asked for share in shares if share.emits]:
            self.say(asked, "first token")
        for asked in [share.asked for share in shares if share.ends]:
            self.say(asked, "finished")

    def speculative_step(self) -> None:
        self.speculate(self.rules.speculative_step_tokens, [], (0, 0, 0, 0), [])

    def speculate(self, most: int, chunks: list[Any], told: Any, shares: list[Share]) -> None:
        """Let a speculative chunk run, alone or in what is left of a step."""
        asked = self.current = self.speculative[0]
        new = min(asked.target - asked.computed, most)
        whole_s = self.price.step([*chunks, (new, asked.computed)], *told)
        longer_s = whole_s - (self.price.step(chunks, *told) if shares else 0.0)
        self.say(asked, "scheduled")
        self.pass_time(whole_s)
        self.current = None
        for share in shares:
            share.asked.interference_s += longer_s
        self.speculative_s += longer_s
        asked.speculative_s += longer_s
        asked.computed += new
        if asked.cancelled or asked.computed == asked.target:
            self.speculative.popleft()
            self.say(asked, "finished")
        elif not asked.speculative:
            self.speculative.popleft()
            self.push(asked)
