"""Who is in which step: vLLM's rules (semantics D1), at a cost that does not grow with the batch.

The running sequences come first, in the order of admission, a token for each that decodes and the rest of its prompt
for the one that is still being prefilled; then the waiting ones by rank, until the token budget, the sequences or the
memory are used up. Only the sequence that was admitted last can be unfinished with its prompt: it has taken all that
was left of the budget.

Decodes are kept as sums. The context of each grows by one a step, so what a step reads is `offsets + count x step`,
and who needs a new block in a step is who stands in that step's class modulo the block. Admitting a sequence or
letting it go costs a heap operation; a step, or a thousand of them, costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from simkv.compute.batch import Batch
from simkv.compute.room import Room
from simkv.compute.sequence import GpuSequence
from simkv.policies.batching import Batching, ChunkedFcfs


class Scheduler:
    """The sequences of one GPU. Steps are numbered from 1.

    Parameters
    ----------
    batching : the order of those that wait.
    room : the memory; None = whoever submits a sequence holds its memory already.
    token_budget : [tokens] most tokens in a step.
    max_sequences : most sequences admitted at a time.
    wants_longest : whether the price list asks for the longest context.

    Attributes
    ----------
    running : sequences that are admitted and have not ended.
    decodes : those that decode.
    preemptions : how often somebody lost its memory.
    """

    def __init__(
        self, batching: Batching, room: Room | None, token_budget: int, max_sequences: int, wants_longest: bool
    ) -> None:
        self._batching = batching
        self._is_fcfs = isinstance(batching, ChunkedFcfs)  # the usual case need not be asked each time
        self._room = room
        self._budget = token_budget
        self._max_sequences = max_sequences
        self._wants_longest = wants_longest
        self._waiting: list[tuple[float, int, GpuSequence]] = []
        self.running = self.decodes = self.preemptions = 0
        self._numbers = self._admissions = self._offsets = 0
        self._partial: GpuSequence | None = None
        self._decoding: dict[GpuSequence, None] = {}  # in the order of admission
        self._leaving: list[GpuSequence] = []  # their last token is in a step that is formed and not done
        self._ending: Sequence[GpuSequence] = ()  # so is the end of their prompt, and they do not decode
        self._ends: list[tuple[int, int, GpuSequence]] = []  # (last step, admission, sequence)
        self._longest: list[tuple[int, int, GpuSequence]] = []  # (-offset, admission, sequence)
        self._block_tokens = room.block_tokens if room is not None else 1
        self._growing = [0] * self._block_tokens  # decodes that need a block in steps of each class
        self._paged = 0  # decodes that fill blocks of the room
        self._grown = 0  # the last step for which they have room
        self._owes_room = False  # but for the step after it, whose room is known to be there

    # -- who waits ---------------------------------------------------------------------------------

    def push(self, sequence: GpuSequence) -> bool:
        """Queue a sequence; return whether it may change the batch before one of the running ends."""
        self._numbers += 1
        sequence.number = self._numbers
        if self._room is None:
            sequence.content = None
        if not self._is_fcfs:
            sequence.rank = self._batching.rank(sequence.view)
        heappush(self._waiting, (sequence.rank, sequence.number, sequence))
        return self._waiting[0][2] is sequence and self.running < self._max_sequences

    def may_admit(self) -> bool:
        """Return whether somebody waits for whom there is a place, if not the memory."""
        return bool(self._waiting) and self.running < self._max_sequences

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def is_empty(self) -> bool:
        """Whether nobody runs or waits."""
        return not (self.running or self._waiting)

    # -- one step ----------------------------------------------------------------------------------

    def form(self, step: int, under_way: Batch | None = None) -> Batch | None:
        """Return the batch of a step; None when nobody can run, or not before the step `under_way` has ended."""
        self._ending = under_way.ends if under_way is not None else ()
        if self._owes_room:
            self.take_room(step - 1)
        if self._ends and self._ends[0][0] < step:
            self._leave_before(step)
        preempted = self._paged > 0 and self._grown < step and not self._have_room(step)
        count = self.decodes
        longest_tokens = self._longest_at(step) if self._wants_longest else 0
        batch = Batch(count, self._offsets + count * step, longest_tokens, preempted)
        budget = self._budget - count
        if self._partial is not None:
            budget -= self._continue(batch, self._partial, budget, step)
        admitted = self._admit(batch, budget, step) if self._waiting and not batch.preempted else ()
        for sequence in admitted:  # who is told may submit another: that is for a later step
            sequence.start()
        if batch.decodes or batch.chunks:
            return batch
        is_alone = batch.preempted and under_way is None  # whose memory was lost may have room in a step of its own
        return self.form(step) if is_alone else None

    def continued(self, step: int) -> Batch | None:
        """Return a step of those that decode and nobody else; None when nobody does."""
        self._leave_before(step)
        count = self.decodes
        if not count:
            return None
        longest_tokens = self._longest_at(step) if self._wants_longest else 0
        return Batch(count, self._offsets + count * step, longest_tokens)

    def done(self, step: int, batch: Batch | None) -> Sequence[GpuSequence]:
        """Let go who has ended by the end of a step; `batch` is the step's, where it computed prefills."""
        if self._owes_room:
            self.take_room(step)
        if self._ends and self._ends[0][0] <= step:
            self._leave_before(step + 1)
        gone: Sequence[GpuSequence] = self._leaving
        if gone:
            self._leaving = []
            for sequence in gone:
                sequence.context_tokens = sequence.offset + sequence.last_step + 1
                sequence.output_left_tokens = 0
        if batch is not None and batch.ends:
            gone = (*gone, *batch.ends)
        if gone:
            self._release(gone)
        return gone

    def _release(self, gone: Sequence[GpuSequence]) -> None:
        self.running -= len(gone)
        if self._room is not None:
            for sequence in gone:
                if sequence.content is not None:
                    self._room.release(sequence, sequence.context_tokens)

    def in_batch(self, batch: Batch) -> list[GpuSequence]:
        """Return who is in the batch that was formed last."""
        partial = () if self._partial is None else (self._partial,)
        return [*self._leaving, *self._decoding, *partial, *batch.ends]

    def steps_alike(self, step: int, is_ahead: bool) -> int:
        """Return how many steps from `step` on are of this batch: until one ends, or a block would be missing.

        Parameters
        ----------
        is_ahead : the step after the one that runs has been formed, too; who ends then leaves its token of the budget
            to others when its last step begins.
        """
        ends = self._ends
        while ends and ends[0][2].last_step != ends[0][0]:  # preempted since
            heappop(ends)
        if not ends:  # all that is decided ends with the step that runs
            return 1
        most = ends[0][0] - step + 1 - (is_ahead and self.decodes == self._budget)
        room = self._room
        if room is None:
            return most
        free, whole, size = room.free_blocks, self._paged, self._block_tokens
        if whole * (most // size + 1) <= free:  # the usual case; also where nobody fills blocks
            return most
        ahead = self._grown - step - is_ahead  # 0, or -1 where the first step has not taken its room yet
        turns = free // whole  # in as many steps as a block has tokens, every decode fills one
        free -= turns * whole
        more = turns * size
        while more <= most and free >= 0:
            more += 1
            free -= self._growing[(self._grown + more) % size]
        return max(1, min(most, more + ahead))

    def have_formed(self, through: int, is_ahead: bool) -> None:
        """Steps of decodes alone were formed up to this one; where decided ahead, also the one after it."""
        self.take_room(through)
        if is_ahead:
            self._leave_before(through + 1)
            self.take_room(through + 1)

    def take_room(self, through: int) -> None:
        """Take the blocks that the decodes fill until a step, as their steps are formed."""
        room = self._room
        if room is None or through <= self._grown:
            return
        growing, size = self._growing, self._block_tokens
        turns, rest = divmod(through - self._grown, size)
        blocks = turns * self._paged
        if rest:
            first, last = (self._grown + 1) % size, through % size
            wraps = first > last
            blocks += sum(growing[first:]) + sum(growing[: last + 1]) if wraps else sum(growing[first : last + 1])
        if blocks:
            room.grow(blocks)
        self._grown = through
        self._owes_room = False

    # -- parts of a step ---------------------------------------------------------------------------

    def _leave_before(self, step: int) -> None:
        """Let those go whose last token is in a step before."""
        ends = self._ends
        while ends and ends[0][0] < step:
            last_step, _, sequence = heappop(ends)
            if sequence.last_step == last_step and sequence in self._decoding:
                self._remove(sequence)
                self._leaving.append(sequence)

    def _remove(self, sequence: GpuSequence) -> None:
        del self._decoding[sequence]
        self.decodes -= 1
        self._offsets -= sequence.offset
        if sequence.content is not None:
            self._growing[-(sequence.offset + sequence.page_shift_tokens) % self._block_tokens] -= 1
            self._paged -= 1

    def _longest_at(self, step: int) -> int:
        if not self._wants_longest or not self.decodes:
            return 0
        longest = self._longest
        while longest[0][2] not in self._decoding or longest[0][2].offset != -longest[0][0]:
            heappop(longest)
        return step - longest[0][0]

    def _admit(self, batch: Batch, budget: int, step: int) -> list[GpuSequence]:
        """Let the waiting in, in order, until something is used up; return them."""
        admitted = []
        while self._waiting and budget and self.running < self._max_sequences:
            entry = self._waiting[0]
            tokens = self._admitted(entry[2], budget)
            if tokens:
                heappop(self._waiting)
            elif (passing := self._who_passes()) is not None:
                entry, tokens = passing, min(passing[2].prefill_left_tokens, budget)
            else:
                break
            sequence = entry[2]
            self._admissions += 1
            self.running += 1
            sequence.admission = self._admissions
            admitted.append(sequence)
            budget -= tokens
            self._compute(batch, sequence, tokens, step)
        return admitted

    def _admitted(self, sequence: GpuSequence, budget: int) -> int:
        """Return [tokens] of the first chunk of a waiting sequence; 0 where there is no room."""
        if self._room is not None and sequence.content is not None:
            tokens = self._room.admit(sequence, budget)
            if tokens and not sequence.scheduled:
                sequence.found_tokens = sequence.context_tokens
            return tokens
        return min(sequence.prefill_left_tokens, budget)

    def _who_passes(self) -> tuple[float, int, GpuSequence] | None:
        """Take the first of the waiting that has its memory out of the queue; None = head-of-line blocking."""
        room = self._room
        if room is None or not room.lets_pass:
            return None
        passing = min((entry for entry in self._waiting if room.holds(entry[2])), default=None)
        if passing is not None:
            self._waiting.remove(passing)
            heapify(self._waiting)
        return passing

    def _continue(self, batch: Batch, sequence: GpuSequence, budget: int, step: int) -> int:
        """Give the unfinished prefill its next chunk; return [tokens] of it."""
        tokens = min(sequence.prefill_left_tokens, budget)
        if self._room is not None and sequence.content is not None:
            while not self._room.extend(sequence, tokens):
                batch.preempted = True
                victim = self._last()
                decodes = self.decodes
                self._preempt(victim, step, had_its_block=True)
                if victim is sequence:
                    return 0
                if self.decodes < decodes:
                    batch.decodes -= 1
                    batch.emitting -= 1
                    batch.context_tokens -= victim.offset + step
                    batch.longest_tokens = self._longest_at(step)
                    budget += 1
        self._compute(batch, sequence, tokens, step)
        return tokens

    def _compute(self, batch: Batch, sequence: GpuSequence, tokens: int, step: int) -> None:
        """Put a chunk into the batch, and the sequence among the decodes when it is the last."""
        batch.add(tokens, sequence.context_tokens)
        sequence.context_tokens += tokens
        sequence.prefill_left_tokens -= tokens
        if sequence.prefill_left_tokens:
            self._partial = sequence
            return
        if sequence is self._partial:
            self._partial = None
        if sequence.output_left_tokens:
            sequence.output_left_tokens -= 1
            batch.emitting += 1
            batch.emits = (*batch.emits, sequence)
        if sequence.output_left_tokens:
            self._decode(sequence, step)
        else:
            batch.ends = (*batch.ends, sequence)

    def _decode(self, sequence: GpuSequence, step: int) -> None:
        """Let a sequence decode from the next step on."""
        offset = sequence.offset = sequence.context_tokens - step - 1
        sequence.last_step = step + sequence.output_left_tokens
        self._decoding[sequence] = None
        self.decodes += 1
        self._offsets += offset
        if sequence.content is not None:
            self._growing[-(offset + sequence.page_shift_tokens) % self._block_tokens] += 1
            self._paged += 1
        heappush(self._ends, (sequence.last_step, sequence.admission, sequence))
        if self._wants_longest:
            heappush(self._longest, (-offset, sequence.admission, sequence))

    # -- memory that runs out ----------------------------------------------------------------------

    def _have_room(self, step: int) -> bool:
        """Take room for a token of every decode; return False when somebody had to lose its memory for it."""
        room = self._room
        assert room is not None
        need = self._growing[step % self._block_tokens]
        if need <= room.free_blocks:
            if not self._waiting and self._partial is None and self._grown == step - 1:
                self._owes_room = True  # nobody else wants any: it is taken with that of the steps that follow
                return True
            if need:
                room.grow(need)
            self._grown = step
            return True
        self._grown = step
        self._grow_one_by_one(room, step)
        return False

    def _grow_one_by_one(self, room: Room, step: int) -> None:
        """Walk the decodes in the order of admission; who finds no block takes somebody's memory, or gives its own."""
        granted: set[GpuSequence] = set()
        for sequence in list(self._decoding):
            at = sequence.offset + step + sequence.page_shift_tokens
            wants = sequence.content is not None and at % self._block_tokens == 0
            if not wants:
                continue
            while sequence in self._decoding and room.free_blocks < 1:
                victim = self._last()
                self._preempt(victim, step, victim in granted)
            if sequence in self._decoding:
                room.grow(1)
                granted.add(sequence)

    def _last(self) -> GpuSequence:
        """Return who loses its memory: the last by rank, and of equals the one admitted last."""
        room = self._room
        assert room is not None
        running = [sequence for sequence in self._decoding if sequence.content is not None]
        partial = () if self._partial is None else (self._partial,)
        for sequence in (*partial, *self._leaving, *self._ending):
            if sequence.content is not None and room.may_lose(sequence):
                running.append(sequence)
        return max(running, key=lambda sequence: (sequence.rank, sequence.admission))

    def _preempt(self, sequence: GpuSequence, step: int, had_its_block: bool) -> None:
        """Take a sequence's memory; it goes back to the queue, to be looked up and computed again (semantics D1)."""
        assert self._room is not None
        self.preemptions += 1
        sequence.preemptions += 1
        if sequence in self._leaving or sequence in self._ending:  # its last token is on its way, and needs no more
            is_leaving = sequence in self._leaving
            kv_tokens = sequence.offset + sequence.last_step + 1 if is_leaving else sequence.context_tokens
            self._room.release(sequence, kv_tokens)
            sequence.content = None
            return
        self.running -= 1
        if sequence is self._partial:
            self._partial = None
            kv_tokens = held_tokens = sequence.context_tokens
            sequence.prefill_left_tokens += kv_tokens
        else:
            self._remove(sequence)
            kv_tokens = sequence.offset + step
            held_tokens = kv_tokens + had_its_block
            sequence.prefill_left_tokens = kv_tokens + 1  # and the token that it emitted last
            sequence.output_left_tokens = sequence.last_step - step + 1
            sequence.last_step = 0
        sequence.context_tokens = 0
        self._room.release(sequence, held_tokens)
        heappush(self._waiting, (sequence.rank, sequence.number, sequence))
