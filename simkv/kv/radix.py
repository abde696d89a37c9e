"""A paged KV pool with a prefix cache, as vLLM's block pool behaves, kept as runs (semantics D1).

Blocks with a reference belong to running sequences. Blocks without one form the free queue, in the order in which
they became free, of each sequence its tail first; what is cached in them can be hit, which takes them out of the
queue, and is lost when they are allocated. A child is never freed after its parent, so that eviction works from the
leaves of the tree of cached prefixes (the radix view) towards its root.

A node of the tree is a run of consecutive blocks that came and went together; it is split when somebody shares a
part of it. Admitting, growing and ending a sequence costs a few dictionary operations per run, however long.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from simkv.compute.sequence import GpuSequence
from simkv.errors import InputError, InvariantError
from simkv.kv.block import Run

_ENDLESS_BLOCKS = 1 << 40  # more than any answer has
_NAMELESS = -1 << 60  # ids from here on are no block's


class Node:
    """A run of blocks in the tree, or (start -1) blocks in the free queue in which nothing is cached.

    Attributes
    ----------
    users : sequences that hold it.
    is_open : nobody but the sequence that made it has seen it: it may still grow.
    """

    __slots__ = ("count", "is_open", "parent", "start", "users")

    def __init__(self, start: int, count: int, parent: Node | None = None, users: int = 0) -> None:
        self.start = start
        self.count = count
        self.parent = parent
        self.users = users
        self.is_open = users == 1


class PagedContent:
    """What the blocks of one sequence hold, front to back.

    Parameters
    ----------
    runs : ids of the full blocks of the prompt; equal ids are equal content behind equal prefixes.
    own_start : first of the ids for the blocks behind them: the rest of the prompt and the answer.
    answer_is_asked : whether another sequence may ask for those ids; else they are worth nothing when it has ended.
    """

    # Defaults stand on the class: most contents are looked up once and let go.
    leaf: Node | None = None
    named = 0  # blocks whose content is in the tree
    place = used = 0  # the run whose block is named next, and how many of it are
    shadowed = False  # somebody else's copy of what follows is in the tree

    def __init__(self, runs: tuple[Run, ...], own_start: int, answer_is_asked: bool = False) -> None:
        self.runs = (*runs, Run(own_start, _ENDLESS_BLOCKS))
        self.answer_is_asked = answer_is_asked

    def let_go(self) -> None:
        """Forget what it held: it may be looked up again."""
        self.leaf = None
        self.named = self.place = self.used = 0
        self.shadowed = False


class BlockPool:
    """The KV blocks of one engine.

    Parameters
    ----------
    blocks : how many there are to use.
    block_tokens : [tokens] a block.
    reserve_prompt : admit a sequence only if all of its prompt fits, not its first chunk alone
        (`scheduler_reserve_full_isl`, on by default in vLLM 0.19: vllm-project/vllm pull request 37307).
    caches_prefixes : whether blocks can be hit at all.

    Attributes
    ----------
    free_blocks : blocks without a reference.
    evicted_blocks : cached blocks that were lost to an allocation.

    Examples
    --------
    >>> pool = BlockPool(100, 16)
    >>> def ask(tokens): return GpuSequence(tokens, content=PagedContent([Run(0, 4)], 1 << 50), on_finished=print)
    >>> first, second = ask(70), ask(70)
    >>> pool.admit(first, 2048), first.context_tokens
    (70, 0)
    >>> pool.admit(second, 2048), second.context_tokens  # four full blocks are hit, six tokens are left
    (6, 64)
    """

    def __init__(
        self, blocks: int, block_tokens: int = 16, *, reserve_prompt: bool = True, caches_prefixes: bool = True
    ) -> None:
        if blocks < 1 or block_tokens < 1:
            raise InputError(f"want at least 1 block of 1 token, got {blocks} of {block_tokens}")
        self.blocks = blocks
        self.lets_pass = False
        self.block_tokens = block_tokens
        self.free_blocks = blocks
        self.evicted_blocks = 0
        self._reserve_prompt = reserve_prompt
        self._caches_prefixes = caches_prefixes
        self._nodes: dict[int, Node] = {}  # by the id of their first block
        self._queue: OrderedDict[Node, None] = OrderedDict({Node(-1, blocks): None})

    def fits(self, tokens: int) -> bool:
        """Return whether a sequence of so many tokens of KV could ever run."""
        return -(-tokens // self.block_tokens) <= self.blocks

    def cached_tokens(self, runs: tuple[Run, ...], prompt_tokens: int) -> int:
        """Return [tokens] of a prompt that would be hit now: whole blocks, and never all of it, as in vLLM.

        Parameters
        ----------
        runs : ids of its full blocks, front to back.
        prompt_tokens : [tokens] of it.
        """
        if not self._caches_prefixes:
            return 0
        path = self._match(PagedContent(runs, _NAMELESS), (prompt_tokens - 1) // self.block_tokens)
        return sum([count for _, count in path]) * self.block_tokens

    # -- what a scheduler asks (`compute/room.py`) ---------------------------------------------------

    def admit(self, sequence: GpuSequence, budget_tokens: int) -> int:
        """Look a sequence up and take room for its first chunk; see `Room.admit`."""
        size, content = self.block_tokens, sequence.content
        total = sequence.context_tokens + sequence.prefill_left_tokens
        path = self._match(content, (total - 1) // size) if self._caches_prefixes else ()
        hit = idle = 0
        for node, count in path:
            hit += count
            if not node.users:
                idle += count
        cached = hit * size
        tokens = min(total - cached, budget_tokens)
        computed = cached + tokens
        upto = total if self._reserve_prompt else computed
        if -(-upto // size) - hit + idle > self.free_blocks:
            return 0
        if path:
            self._hold(content, path, hit)
        if need := -(-computed // size) - hit:
            self.grow(need)
        if self._caches_prefixes and computed // size > hit:
            self._name(content, computed // size)
        sequence.context_tokens = cached
        sequence.prefill_left_tokens = total - cached
        return tokens

    def holds(self, sequence: GpuSequence) -> bool:
        """Return False: who waits has nothing; see `Room.holds`."""
        return False

    def may_lose(self, sequence: GpuSequence) -> bool:
        """Return True: whoever was admitted last makes way; see `Room.may_lose`."""
        return True

    def extend(self, sequence: GpuSequence, tokens: int) -> bool:
        """Take room for the next chunk of a prefill; see `Room.extend`."""
        size, before = self.block_tokens, sequence.context_tokens
        need = -(-(before + tokens) // size) - -(-before // size)
        if need > self.free_blocks:
            return False
        self.grow(need)
        if self._caches_prefixes:
            self._name(sequence.content, (before + tokens) // size)
        return True

    def grow(self, blocks: int) -> None:
        """Take blocks from the front of the free queue; what was cached in them is lost."""
        self.free_blocks -= blocks
        if self.free_blocks < 0:
            raise InvariantError(f"{-self.free_blocks} more blocks were taken than are free")
        queue = self._queue
        while blocks:
            node = next(iter(queue))
            count = node.count
            if count > blocks:  # from its end: the leaf goes first
                node.count = count - blocks
                if node.start >= 0:
                    self.evicted_blocks += blocks
                return
            blocks -= count
            del queue[node]
            if node.start >= 0:
                self.evicted_blocks += count
                if self._nodes.get(node.start) is node:
                    del self._nodes[node.start]

    def release(self, sequence: GpuSequence, kv_tokens: int) -> None:
        """Give back the blocks of a sequence, its tail first; see `Room.release`."""
        content: PagedContent = sequence.content
        size, queue = self.block_tokens, self._queue
        may_be_asked = sequence.prefill_left_tokens or content.answer_is_asked
        if may_be_asked and self._caches_prefixes and kv_tokens // size > content.named:
            self._name(content, kv_tokens // size)
        free = -(-kv_tokens // size) - content.named
        if free:
            queue[Node(-1, free)] = None
        node = content.leaf
        while node is not None:
            node.users -= 1
            if not node.users:
                queue[node] = None
                free += node.count
                node.is_open = False
            node = node.parent
        self.free_blocks += free
        if sequence.prefill_left_tokens:
            content.let_go()

    # -- the tree ----------------------------------------------------------------------------------

    def _match(self, content: PagedContent, most: int) -> list[tuple[Node, int]]:
        """Return the cached front of a content: nodes, and how many blocks of each; at most so many in all."""
        nodes = self._nodes
        path: list[tuple[Node, int]] = []
        for start, count in content.runs:
            at = 0
            while at < count and most:
                node = nodes.get(start + at)
                if node is None:
                    return path
                taken = min(node.count, count - at, most)
                path.append((node, taken))
                most -= taken
                at += taken
                if taken < node.count:
                    return path
            if not most:
                break
        return path

    def _hold(self, content: PagedContent, path: Sequence[tuple[Node, int]], hit: int) -> None:
        """Take a reference to a cached front."""
        for found, taken in path:
            node = found if taken == found.count else self._split(found, taken)
            if node is found and not node.users:
                del self._queue[node]
            if not node.users:
                self.free_blocks -= taken
            node.users += 1
            node.is_open = False
            content.leaf = node
        content.named = hit
        self._move_on(content, hit)

    def _split(self, node: Node, blocks: int) -> Node:
        """Cut the front off a node and return it; users of the node use both."""
        front = Node(node.start, blocks, node.parent, node.users)
        node.start += blocks
        node.count -= blocks
        node.parent = front
        self._nodes[front.start] = front
        self._nodes[node.start] = node
        return front

    def _name(self, content: PagedContent, full_blocks: int) -> None:
        """Put the content of a sequence's full blocks into the tree."""
        left = full_blocks - content.named
        while left > 0 and not content.shadowed:
            start, count = content.runs[content.place]
            first, taken = start + content.used, min(left, count - content.used)
            leaf = content.leaf
            if leaf is not None and leaf.is_open and leaf.start + leaf.count == first:
                leaf.count += taken
            elif first in self._nodes:  # computed by another sequence at the same time: its copy is the one that is hit
                content.shadowed = True
                return
            else:
                content.leaf = self._nodes[first] = Node(first, taken, leaf, users=1)
            content.named += taken
            left -= taken
            self._move_on(content, taken)

    @staticmethod
    def _move_on(content: PagedContent, blocks: int) -> None:
        """Advance the place of the next block to be named."""
        content.used += blocks
        while content.used >= (count := content.runs[content.place][1]):
            content.used -= count
            content.place += 1

    def check(self) -> None:
        """Raise unless every block is counted once: for tests."""
        free = sum(node.count for node in self._queue)
        if free != self.free_blocks or any(node.users for node in self._queue):
            raise InvariantError(f"{self.free_blocks} blocks are free, {free} of them are in the queue")
