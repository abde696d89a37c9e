"""What does a request find of what it asks for, and what has speculation done for it?

A unit's fate is decided when it is first asked for (semantics F1): here, at the server that was asked. Nothing
is moved here; `server.py` does that.
"""

from __future__ import annotations

from collections.abc import Iterable

from simkv.claim import Claim
from simkv.fates import Fates
from simkv.jobs import Job
from simkv.kv.block import Run, overlap
from simkv.kv.buffer import KvBuffer
from simkv.kv.survey import Survey
from simkv.ledger import Ledger, Unit


class FirstLook:
    """Counts what requests needed, what speculation brought in time, and what it still brings (semantics F1, F2)."""

    def __init__(self, buffer: KvBuffer, ledger: Ledger) -> None:
        self._buffer = buffer
        self.fates = Fates()  # what becomes of blocks that are not here
        self._ledger = ledger

    def at(self, claim: Claim) -> list[Survey]:
        """Count for a request that has just arrived; return what there is of its spans."""
        prompt = claim.prompt
        looks = [self._buffer.survey(span) for span in prompt.spans]
        missing = sum(look.absent_blocks for look in looks) > prompt.fresh_blocks
        claim.ready_at_arrival = not (missing or any(look.arriving for look in looks))
        if not claim.ready_at_arrival or any(look.is_marked for look in looks):
            whole = [self._at_part(claim, index) for index, part in enumerate(prompt.parts) if not part.fresh]
            claim.ready_at_arrival = all(whole)
        self._ledger.attempts.asked(claim.conversation.key)
        return looks

    def _at_part(self, claim: Claim, index: int) -> bool:
        """Count one part; return whether all of it is resident."""
        run = claim.prompt.parts[index].run
        look = self._buffer.survey(run)
        lacking = look.absent_blocks + sum(run.count for run in look.arriving)
        late_blocks = self._settle_marks(claim, run) if look.is_marked else 0
        if lacking > late_blocks:  # what no speculation brings is one object more
            first = min(look.absent or look.arriving)
            claim.misses[index] = self.fates.of(first) or self._ledger.attempts.why(claim.conversation.key)
        return not lacking

    def _settle_marks(self, claim: Claim, run: Run) -> int:
        """Decide what speculated units that are asked for have become; return how many blocks are still to come."""
        late_blocks = 0
        for piece, mark in self._buffer.marks(run):
            is_late = bool(self._buffer.arriving(piece))
            if isinstance(mark, Unit) and mark.is_open:
                self._ledger.decide(mark, "used_late" if is_late else "used_in_time")
                claim.late_units += is_late
                claim.in_time_units += not is_late
            if isinstance(mark, Unit) and mark.outcome == "used_late":
                late_blocks += piece.count * is_late
            self._buffer.unmark(piece)
        return late_blocks

    def settle_late(self, job: Job, waiting: Iterable[Claim], queue: Iterable[Claim]) -> None:
        """Decide about a push that arrives and was asked for before its source could hear of it: it is late.

        `waiting` wait for what arrives; `queue` wait for memory, and have not told the source what they lack.
        """
        unit = job.unit
        if unit is None or not unit.is_open:
            return
        asked = [(claim, claim.texts if job.kind == "text" else claim.awaited) for claim in waiting]
        for claim, runs in (*asked, *((claim, claim.prompt.spans) for claim in queue)):
            if any(overlap(run, each) for run in job.runs for each in runs):
                self._ledger.decide(unit, "used_late")
                claim.was_late(job.runs)
                return
