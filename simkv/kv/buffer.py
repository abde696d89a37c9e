"""A bounded store of KV blocks: what is resident, what is on its way, what is in use, what must go.

It counts blocks and asks an eviction policy; it knows nothing of requests, links or GPUs. Blocks move
through three states: *arriving* (room is taken, nothing is usable), *resident*, and gone. A resident block
that is pinned is in use and stays. Runs are cut where a reservation, a use or an eviction cuts them, and
joined again when one use releases them together.
"""

from __future__ import annotations

from collections.abc import Callable

from simkv.errors import InvariantError
from simkv.kv.block import Run
from simkv.kv.runmap import RunMap
from simkv.kv.survey import Entry, Survey
from simkv.policies.eviction.question import Eviction, Expiring, Sized, Told


class KvBuffer:
    """A bounded store of KV blocks on one tier of one node.

    Parameters
    ----------
    size_bytes : [bytes] room; whole blocks count.
    block_bytes : [bytes] a block, > 0.
    eviction : who decides what goes.
    now : returns the simulated time [s].
    evicted : called with each run that eviction removed and its mark.

    Examples
    --------
    >>> from simkv.policies import EVICTION
    >>> buffer = KvBuffer(40, 10, EVICTION.create("lru"), now=lambda: 0.0)
    >>> buffer.reserve(Run(0, 3)); buffer.arrive(Run(0, 3))
    True
    >>> buffer.reserve(Run(7, 2)), buffer.leading(Run(0, 3))
    (True, 2)
    """

    def __init__(
        self,
        size_bytes: int,
        block_bytes: int,
        eviction: Eviction,
        now: Callable[[], float],
        evicted: Callable[[Run, object], None] | None = None,
    ) -> None:
        if block_bytes <= 0 or size_bytes < block_bytes:
            raise ValueError(f"want room for at least one block of {block_bytes} bytes, got {size_bytes} bytes")
        self.block_bytes = block_bytes
        self.capacity_blocks = size_bytes // block_bytes
        self.used_blocks = 0
        self.pinned_blocks = 0  # pinned or arriving: what no eviction can free
        self._eviction = eviction
        self._now = now
        self._evicted = evicted
        self._entries: RunMap[Entry] = RunMap()
        if isinstance(eviction, Sized):
            eviction.sized(self.capacity_blocks)
        self._expiring = eviction if isinstance(eviction, Expiring) else None
        self._told = eviction if isinstance(eviction, Told) else None

    # -- looking -----------------------------------------------------------------------------------

    def leading(self, run: Run) -> int:
        """Return how many blocks from the front of `run` are resident without a hole."""
        first, count = run
        at = first
        for (start, length), entry in self._present(run):
            if start > at or entry.arriving:
                break
            at = start + length
        return min(at - first, count)

    def resident(self, run: Run) -> bool:
        """Return whether all of `run` is resident."""
        return self.leading(run) == run.count

    def absent(self, run: Run) -> list[Run]:
        """Return the parts of `run` that are neither resident nor arriving."""
        return self._entries.gaps(run) if self._expiring is None else self.survey(run).absent

    def not_resident(self, run: Run) -> list[Run]:
        """Return the parts of `run` that are not resident: absent or still arriving."""
        found = self.survey(run)
        return sorted(found.absent + found.arriving) if found.arriving else found.absent

    def survey(self, run: Run) -> Survey:
        """Return what is and is not here of `run`, in one look."""
        found = Survey([], [], [], 0, False)
        at, count = run
        end = at + count
        for stored, entry in self._present(run):
            start, length = stored
            if start > at:
                found.absent.append(Run(at, start - at))
                at = start
            if at > start or start + length > end:  # it sticks out of `run`
                length = min(start + length, end) - at
                piece = Run(at, length)
            else:
                piece = stored
            if entry.arriving:
                found.arriving.append(piece)
            else:
                found.resident.append(piece)
                if not entry.pins:
                    found.idle_blocks += length
            if entry.mark is not None:
                found.is_marked = True
            at += length
        if at < end:
            found.absent.append(Run(at, end - at))
        return found

    def arriving(self, run: Run) -> list[Run]:
        """Return the parts of `run` that are on their way."""
        return self.survey(run).arriving

    def marks(self, run: Run) -> list[tuple[Run, object]]:
        """Return the marked pieces inside `run`, cut to it."""
        found = []
        for piece, entry in self._entries.overlapping(run):
            if entry.mark is not None:
                start, end = max(piece.start, run.start), min(piece.end, run.end)
                found.append((Run(start, end - start), entry.mark))
        return found

    @property
    def free_blocks(self) -> int:
        """Blocks that hold nothing."""
        return self.capacity_blocks - self.used_blocks

    # -- filling -----------------------------------------------------------------------------------

    def reserve(self, run: Run, mark: object = None, *, pin: bool = False) -> bool:
        """Take room for `run`, none of which is present, evicting as needed.

        `pin`: its content is made in place by who takes the room, so it is resident and in use at once.

        Returns
        -------
        False, with nothing changed, when pins and arrivals leave too little to evict.
        """
        if run.count > self.capacity_blocks - self.pinned_blocks:
            return False
        self._make_room(run.count)
        entry = Entry(arriving=not pin, mark=mark)
        entry.pins = int(pin)
        self._entries.put(run, entry)
        self.used_blocks += run.count
        self.pinned_blocks += run.count
        return True

    def arrive(self, run: Run, *, pin: bool = False) -> None:
        """Turn reserved room into resident blocks; `pin` takes them into use at once."""
        for piece, entry in reversed(self._isolate(run)):  # the end first: it is evicted first
            if not entry.arriving:
                raise InvariantError(f"{piece} arrived without a reservation")
            entry.arriving = False
            if pin:
                entry.pins = 1
            else:
                self.pinned_blocks -= piece.count
                self._offer(piece, entry)

    def abandon(self, run: Run) -> None:
        """Give up reserved room whose content will not come."""
        for piece, entry in self._isolate(run):
            if not entry.arriving:
                raise InvariantError(f"{piece} was abandoned without a reservation")
            self._entries.remove(piece)
            self.used_blocks -= piece.count
            self.pinned_blocks -= piece.count

    def occupy(self, blocks: int) -> None:
        """Take blocks whose content is made in place and named later, evicting as needed.

        Raises
        ------
        InvariantError : pins and arrivals leave too little to evict.
        """
        if blocks > self.capacity_blocks - self.pinned_blocks:
            raise InvariantError(
                f"{blocks} blocks were taken, {self.capacity_blocks - self.pinned_blocks} are to be had"
            )
        self._make_room(blocks)
        self.used_blocks += blocks
        self.pinned_blocks += blocks

    def vacate(self, blocks: int) -> None:
        """Give back blocks that were occupied."""
        self.used_blocks -= blocks
        self.pinned_blocks -= blocks

    # -- using -------------------------------------------------------------------------------------

    def pin(self, run: Run) -> None:
        """Take resident blocks into use: they stay until released as often as pinned."""
        for piece, entry in self._isolate(run):
            if entry.arriving:
                raise InvariantError(f"{piece} was pinned before it arrived")
            if entry.pins == 0:
                self.pinned_blocks += piece[1]
            entry.pins += 1

    def release(self, run: Run, *, drop: bool = False, was_used: bool = True) -> None:
        """End one use of `run`; `drop` throws the blocks away instead of keeping them.

        `was_used=False`: it was only held in place, so the eviction policy does not hear of a use.
        """
        free = self._unpin(run)
        if drop:
            for piece, entry in free:
                self._remove(piece, entry)
            return
        self._tell(free, was_used)

    def foretold(self, run: Run, steps: float) -> None:
        """Pass on in how many steps `run`, here or not, is used; `math.inf` = not that anybody knows."""
        if self._told is not None:
            self._told.told(run, steps)

    def touch(self, run: Run) -> None:
        """Use resident blocks for no time: `pin` and `release` in one."""
        found = self._isolate(run)
        if any(entry.arriving for _, entry in found):
            raise InvariantError(f"{run} was used before it arrived")
        self._tell([(piece, entry) for piece, entry in found if not entry.pins], True)

    def _tell(self, free: list[tuple[Run, Entry]], was_used: bool) -> None:
        """Tell the eviction policy of blocks that nobody uses any more."""
        now_s = self._now()
        for piece, entry in self._joined(free) if len(free) > 1 else free:
            if not entry.known:
                entry.known = True
                self._eviction.inserted(piece, now_s)
            if was_used:
                self._eviction.used(piece, now_s)

    def _unpin(self, run: Run) -> list[tuple[Run, Entry]]:
        """Take one pin off each piece of `run`; return those that nobody uses any more."""
        free = []
        for piece, entry in self._isolate(run):
            if entry.pins <= 0:
                raise InvariantError(f"{piece} was released more often than pinned")
            entry.pins -= 1
            if entry.pins == 0:
                self.pinned_blocks -= piece[1]
                free.append((piece, entry))
        return free

    def unmark(self, run: Run) -> None:
        """Forget the marks inside `run`."""
        for _, entry in self._isolate(run):
            entry.mark = None

    def check_all_free(self) -> None:
        """Raise unless nothing is in use or on its way: what every buffer must come to when all requests ended.

        Raises
        ------
        InvariantError : a reservation or a pin leaked, or the counts disagree with the entries.
        """
        blocks = sum(run.count for run, _ in self._entries)
        held = [run for run, entry in self._entries if entry.pins or entry.arriving]
        if held or self.pinned_blocks:
            raise InvariantError(f"{self.pinned_blocks} blocks are still in use or arriving: {held[:3]}")
        if blocks != self.used_blocks or blocks > self.capacity_blocks:
            raise InvariantError(
                f"{blocks} blocks of {self.capacity_blocks} are stored, {self.used_blocks} are counted"
            )

    # -- inside ------------------------------------------------------------------------------------

    def _offer(self, piece: Run, entry: Entry) -> None:
        entry.known = True
        self._eviction.inserted(piece, self._now())

    def _isolate(self, run: Run) -> list[tuple[Run, Entry]]:
        """Return the entries that make up `run`, after cutting off what sticks out at its ends."""
        exact = self._entries.exactly(run)
        if exact is not None:
            return [(run, exact)]
        found = self._entries.overlapping(run)
        inside = []
        for whole, entry in found:
            start, end = max(whole.start, run.start), min(whole.end, run.end)
            if (start, end) != (whole.start, whole.end):
                self._entries.remove(whole)
                if whole.start < start:
                    self._entries.put(Run(whole.start, start - whole.start), entry.copy())
                if whole.end > end:
                    self._entries.put(Run(end, whole.end - end), entry.copy())
                self._entries.put(Run(start, end - start), entry)
            inside.append((Run(start, end - start), entry))
        if sum(piece.count for piece, _ in inside) != run.count:
            raise InvariantError(f"{run} is not wholly in the buffer")
        return inside

    def _joined(self, free: list[tuple[Run, Entry]]) -> list[tuple[Run, Entry]]:
        """Join neighbours that are alike; the end of the prompt comes first (it is evicted first)."""
        joined: list[tuple[Run, Entry]] = []
        for piece, entry in free:
            if joined:
                last, with_entry = joined[-1]
                alike = with_entry.mark is None and entry.mark is None and with_entry.known == entry.known
                if alike and last.end == piece.start:
                    self._entries.remove(last)
                    self._entries.remove(piece)
                    both = Run(last.start, last.count + piece.count)
                    self._entries.put(both, with_entry)
                    joined[-1] = (both, with_entry)
                    continue
            joined.append((piece, entry))
        joined.reverse()
        return joined

    def _make_room(self, blocks: int) -> None:
        need = blocks - self.free_blocks
        while need > 0:
            victim = self._eviction.victim(need * self.block_bytes)
            if victim is None:
                raise InvariantError("the eviction policy offers no victim although evictable blocks remain")
            need -= self._evict_from_end(victim, need)

    def _present(self, run: Run) -> list[tuple[Run, Entry]]:
        """Return the entries that overlap `run`; what has expired is evicted before anybody looks."""
        if self._expiring is not None:
            while (expired := self._expiring.expired(self._now())) is not None:
                self._evict_from_end(expired, expired.count)
        return self._entries.overlapping(run)

    def _evict_from_end(self, victim: Run, need: int) -> int:
        """Evict up to `need` blocks from the end of `victim`, passing over what is in use; return how many went."""
        evicted = 0
        first, last = victim[0], victim[0] + victim[1]
        for (stored, length), entry in reversed(self._offered(victim)):
            start, end = max(stored, first), min(stored + length, last)
            if entry.pins:
                for piece, part in self._isolate(Run(start, end - start)):
                    self._eviction.removed(piece)
                    part.known = False
                continue
            count = min(need - evicted, end - start)
            piece = Run(end - count, count)
            if end < stored + length:
                self._isolate(piece)
            self._entries.take(piece)
            self.used_blocks -= count
            self._eviction.removed(piece)
            if self._evicted is not None:
                self._evicted(piece, entry.mark)
            evicted += count
            if evicted == need:
                break
        return evicted

    def _offered(self, victim: Run) -> list[tuple[Run, Entry]]:
        """Return the entries of a victim; a policy that offers what it was told to forget would go on for ever."""
        offered = self._entries.overlapping(victim)
        if not offered or not all(entry.known for _, entry in offered):
            raise InvariantError(f"the eviction policy offers {victim}, which it was never given or told to forget")
        return offered

    def _remove(self, piece: Run, entry: Entry) -> None:
        if entry.known:
            self._eviction.removed(piece)
        self._entries.remove(piece)
        self.used_blocks -= piece.count
