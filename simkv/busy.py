"""What each GPU and each link does with its time, noted as it happens: hooks, and nothing that a run would notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from simkv.compute.gpu import Gpu
from simkv.compute.kernel import Kernel
from simkv.compute.leap import StepEnd
from simkv.compute.sequence import GpuSequence
from simkv.network.flow import Flow, TransferRecord
from simkv.network.link import Link, Traffic
from simkv.watching import hook


class Span(NamedTuple):
    """A row of `results.SPAN_COLUMNS`, without arm and replication."""

    lane: str
    object: str
    start_s: float
    end_s: float
    kind: str
    request_id: int = -1
    session: int = -1
    turn: int = -1
    wire_bytes: int = 0
    tokens: int = 0


class _Lane:
    """The spans of one object; neighbours that are alike become one."""

    def __init__(self, name: str, of: str) -> None:
        self.spans: list[Span] = []
        self._name, self._of = name, of

    def add(self, start_s: float, end_s: float, kind: str, session: int = -1, tokens: int = 0) -> None:
        if end_s <= start_s:
            return
        last = self.spans[-1] if self.spans else None
        if last is not None and (last.end_s, last.kind, last.session) == (start_s, kind, session):
            self.spans[-1] = last._replace(end_s=end_s, tokens=last.tokens + tokens)
        else:
            self.spans.append(Span(self._name, self._of, start_s, end_s, kind, session=session, tokens=tokens))


class GpuWatch:
    """What one GPU computes.

    Parameters
    ----------
    now : returns the simulated time [s].
    session_of : for which session a speculative sequence is computed; -1 = not known.

    Attributes
    ----------
    gpu : what is watched.
    """

    def __init__(self, name: str, gpu: Gpu, now: Callable[[], float], session_of: Callable[[GpuSequence], int]) -> None:
        self.gpu, self.name = gpu, name
        self._lane = _Lane("gpu", name)
        self._now = now
        self._session_of = session_of
        self._began_s = 0.0  # a speculative step
        self._filling: tuple[float, int, int] | None = None  # (from when on, session, tokens): the end of a filled step
        hook(gpu, "_begin_speculative", self._speculates)
        hook(gpu, "_has_speculated", self._has_speculated)
        hook(gpu, "_end_demand", self._has_stepped)
        hook(gpu, "_count_kernel", self._has_run)
        hook(gpu, "settle", self._settled)

    @property
    def spans(self) -> list[Span]:
        """What it did so far, in order."""
        return self._lane.spans

    @property
    def speculative_waiting(self) -> int:
        """How many sequences wait, or are under way, that nobody has asked for."""
        return len(self.gpu._speculative)

    def _speculates(self, call: Callable[[], None]) -> None:
        self._began_s = self._now()
        call()

    def _has_speculated(self, call: Callable[[], None], sequence: GpuSequence, tokens: int, spent_s: float) -> None:
        session = self._session_of(sequence)
        if self.gpu._batch is None:
            self._lane.add(self._began_s, self._now(), "speculative_prefill", session, tokens)
        else:  # its share of a step is booked as what the step was longer for it
            self._filling = self._now() - spent_s, session, tokens
        call()

    def _has_stepped(self, call: Callable[[], None], end: StepEnd) -> None:
        self._step(self._now(), end.steps)
        call()

    def _step(self, end_s: float, steps: int) -> None:
        """Note a step, or those of a leap, that demand had."""
        batch, leap, start_s = self.gpu._batch, self.gpu._leap, self.gpu._busy_since_s
        filling, self._filling = self._filling, None
        if start_s is None:
            return
        demand_end_s = filling[0] if filling is not None else end_s
        if batch is not None:
            kind = ("mixed" if batch.decodes else "prefill") if batch.chunks else "decode"
            self._lane.add(start_s, demand_end_s, kind, tokens=batch.tokens)
        else:
            decodes = leap._batch.decodes if leap is not None else 0
            self._lane.add(start_s, demand_end_s, "decode", tokens=decodes * steps)
        if filling is not None:
            self._lane.add(demand_end_s, end_s, "speculative_prefill", *filling[1:])

    def _has_run(self, call: Callable[[], None], kernel: Kernel, _: float) -> None:
        start_s = self.gpu._busy_since_s
        if start_s is None:  # cut off at the end of the run
            start_s = self._began_s
        self._lane.add(start_s, self._now(), "speculative_kernel" if kernel.speculative else "kernel")
        call()

    def _settled(self, call: Callable[[], None]) -> None:
        """Note what is under way when the run ends."""
        gpu = self.gpu
        if gpu._busy_since_s is not None:
            if gpu.kernels.running is not None:
                self._began_s = gpu._busy_since_s
            elif gpu._speculating is not None and gpu._batch is None:
                session = self._session_of(gpu._speculating)
                self._lane.add(gpu._busy_since_s, self._now(), "speculative_prefill", session)
            else:
                self._step(self._now(), 0)
        call()


class LinkWatch:
    """What one link sends.

    Parameters
    ----------
    name : of the link in the spans; a slice has one of its own.
    sent : called with each part of a transfer in one class, once it has ended.

    Attributes
    ----------
    link : what is watched.
    """

    def __init__(
        self, name: str, link: Link, now: Callable[[], float], sent: Callable[[Flow, TransferRecord, str], None]
    ) -> None:
        self.link, self.name = link, name
        self._lane = _Lane("link", name)
        self._now = now
        self._sent = sent
        self._since_s: float | None = None  # when it began to send what it sends
        self._sending = ""
        self._counted_s = 0.0  # up to when what it sends is in `_bits`
        self._bits: dict[str, float] = {}
        hook(link, "_switch", self._switched)
        hook(link, "settle", self._settled)
        hook(link._books, "close", self._closed)

    @property
    def spans(self) -> list[Span]:
        """What it sent so far, in order."""
        return self._lane.spans

    def take_bits(self, until_s: float) -> dict[str, float]:
        """Return [bit] sent since this was asked last, by class."""
        self._count(until_s)
        bits, self._bits = self._bits, {}
        return bits

    def backlog_bits(self, at_s: float) -> float:
        """Return [bit] of transfers that have begun and are not yet sent."""
        return sum(self.link._bits_left(flow, at_s) for flow in self.link._open if flow.end_s is None)

    def _count(self, until_s: float) -> None:
        if self._since_s is not None and until_s > self._counted_s:
            bits = self.link.capacity.bits_between(self._counted_s, until_s)
            self._bits[self._sending] = self._bits.get(self._sending, 0.0) + bits
            self._counted_s = until_s

    def _switched(self, call: Callable[[], None], index: int | None, t_s: float) -> None:
        self._stop(t_s)
        if index is not None:
            self._since_s = self._counted_s = t_s
            self._sending = Traffic(index).label if self.link.discipline == "strict" else "shared"
        call()

    def _stop(self, t_s: float) -> None:
        if self._since_s is not None:
            self._count(t_s)
            self._lane.add(self._since_s, t_s, self._sending)
            self._since_s = None

    def _settled(self, call: Callable[[], None]) -> None:
        self._stop(self._now())
        call()

    def _closed(self, call: Callable[[], None], flow: Flow, outcome: str) -> None:
        record = flow._row
        call()
        if record is not None:
            self._sent(flow, record, outcome)
