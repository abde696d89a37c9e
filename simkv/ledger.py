"""Where does every speculative byte and GPU-second end? In exactly one class (semantics F1).

A unit is one speculated object. What is spent on it before a promotion takes effect is written to it; once
its outcome is known and nothing more can be spent, its sums move to that outcome's account.
"""

from __future__ import annotations

from simkv.errors import InvariantError
from simkv.fates import BECAUSE, Attempts, Fates
from simkv.kv.block import Run
from simkv.network.flow import Flow, Traffic
from simkv.results import OUTCOMES


class Unit:
    """One speculated object and what was spent on it.

    Attributes
    ----------
    session : key of the session that it was speculated for.
    blocks : how many of its blocks have no outcome of their own yet.
    run : the blocks that it brings to a receiver; None where it brings none.
    outcome : where it ends; None while that is open.
    """

    __slots__ = (
        *("_closed", "_fates", "_flows", "_gpu_s", "_wire_bytes"),
        *("blocks", "outcome", "run", "session", "working"),
    )

    def __init__(self, session: int, blocks: int, run: Run | None, fates: Fates | None) -> None:
        self.session = session
        self.blocks = blocks
        self.run = run
        self._fates = fates
        self.outcome: str | None = None
        self.working = 0  # activities under way that may still spend
        self._flows: list[Flow] = []
        self._wire_bytes = 0
        self._gpu_s = 0.0
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether nobody has decided yet what became of it."""
        return self.outcome is None


class Ledger:
    """The accounts of one run.

    Examples
    --------
    >>> ledger = Ledger()
    >>> unit = ledger.open(session=0, blocks=4)
    >>> ledger.spend_gpu(unit, 2.0); ledger.cut(unit, 1, "evicted"); ledger.decide(unit, "used_in_time")
    >>> ledger.gpu_s["evicted"], ledger.gpu_s["used_in_time"]
    (0.5, 1.5)
    """

    def __init__(self) -> None:
        self.units = dict.fromkeys(OUTCOMES, 0)
        self.wire_bytes = dict.fromkeys(OUTCOMES, 0)
        self.gpu_s = dict.fromkeys(OUTCOMES, 0.0)
        self.pollution_bytes = 0
        self.attempts = Attempts()
        self._open: dict[int, dict[Unit, None]] = {}  # by session
        self._draining: list[Unit] = []  # decided, but a cancelled flow still sends what is committed

    def open(self, session: int, blocks: int, run: Run | None = None, fates: Fates | None = None) -> Unit:
        """Begin a unit; `run` are the blocks that it brings, `fates` what is remembered where they go."""
        for draining in [unit for unit in self._draining if not unit._closed]:
            self._close_if_done(draining)
        self._draining = [unit for unit in self._draining if not unit._closed]
        unit = Unit(session, blocks, run, fates)
        self.attempts.speculated(session)
        if run is not None and fates is not None:
            fates.note(run, "cancelled")  # what it will be called if it does not come and nothing else is said
        self._open.setdefault(session, {})[unit] = None
        return unit

    def spend_gpu(self, unit: Unit, seconds: float) -> None:
        """Write speculative GPU time [s] to a unit."""
        unit._gpu_s += seconds

    def watch(self, unit: Unit, flow: Flow) -> None:
        """Write to a unit whatever this flow spends in the speculative class."""
        unit._flows.append(flow)

    def begin(self, unit: Unit) -> None:
        """Note that an activity may spend on the unit."""
        unit.working += 1

    def end(self, unit: Unit) -> None:
        """Note that an activity is over, or was promoted: it spends no more."""
        unit.working -= 1
        self._close_if_done(unit)

    def decide(self, unit: Unit, outcome: str) -> None:
        """Say what became of a unit; the first decision stands."""
        if unit.outcome is None:
            unit.outcome = outcome
            if unit.run is not None and unit._fates is not None:
                if cause := BECAUSE.get(outcome):
                    unit._fates.note(unit.run, cause)
                else:
                    unit._fates.forget([unit.run])
            self._close_if_done(unit)

    def cut(self, unit: Unit, blocks: int, outcome: str) -> None:
        """Give some blocks of a unit an outcome of their own: its sums split in proportion."""
        if unit.outcome is not None:
            return
        if blocks >= unit.blocks:
            self.decide(unit, outcome)
            return
        self._collect(unit)
        wire_bytes = unit._wire_bytes * blocks // unit.blocks
        gpu_s = unit._gpu_s * blocks / unit.blocks
        self._book(outcome, wire_bytes, gpu_s)
        unit._wire_bytes -= wire_bytes
        unit._gpu_s -= gpu_s
        unit.blocks -= blocks

    def end_session(self, session: int) -> None:
        """Nobody will ask any more for what was speculated for a session: it was never used."""
        self.attempts.has_ended(session)
        for unit in list(self._open.get(session, ())):
            unit.run = None  # nobody refused it: what is under way is cancelled, what has come may serve others
            self.decide(unit, "never_used")

    def settle(self) -> None:
        """Close the books at the end of a run: what is under way or resident ends as such."""
        for unit in [unit for units in self._open.values() for unit in units]:
            if unit.outcome is None:
                unit.outcome = "in_flight_at_end" if unit.working else "resident_at_end"
            unit.working = 0
            self._close(unit)

    def check(self, link_wire_bytes: int, gpu_s: float) -> None:
        """Raise unless the accounts hold all that links and GPUs spent on speculation.

        Parameters
        ----------
        link_wire_bytes : [bytes] of speculative payload flows, summed over links, control messages excluded.
        gpu_s : [s] of speculative GPU time, summed over GPUs.
        """
        booked_bytes, booked_s = sum(self.wire_bytes.values()), sum(self.gpu_s.values())
        if booked_bytes != link_wire_bytes:
            raise InvariantError(f"links carried {link_wire_bytes} speculative bytes, the ledger has {booked_bytes}")
        if abs(booked_s - gpu_s) > 1e-9 * max(1.0, gpu_s):  # sums of the same terms in another order
            raise InvariantError(f"GPUs spent {gpu_s} s on speculation, the ledger has {booked_s} s")

    def _close_if_done(self, unit: Unit) -> None:
        """Close unless something may still be spent; a cancelled flow may still drain what is committed."""
        if unit.outcome is None or unit.working or unit._closed:
            return
        if all(flow.end_s is not None or flow.traffic is Traffic.DEMAND for flow in unit._flows):
            self._close(unit)
        elif unit not in self._draining:
            self._draining.append(unit)

    def _close(self, unit: Unit) -> None:
        self._collect(unit)
        if unit.outcome is not None:
            self._book(unit.outcome, unit._wire_bytes, unit._gpu_s)
        unit._closed = True
        units = self._open[unit.session]
        del units[unit]
        if not units:
            del self._open[unit.session]

    def _collect(self, unit: Unit) -> None:
        for flow in unit._flows:
            unit._wire_bytes += flow.wire_bytes_by_class.get(Traffic.SPECULATIVE, 0)
        unit._flows.clear()

    def _book(self, outcome: str, wire_bytes: int, gpu_s: float) -> None:
        self.units[outcome] += 1
        self.wire_bytes[outcome] += wire_bytes
        self.gpu_s[outcome] += gpu_s
