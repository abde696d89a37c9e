"""What is worth moving ahead of time? The form in which every prefetch policy answers.

Asked by whoever speculates (`policies.initiator`: the source that pushes, or the receiver that pulls) at the moments
that the policy wants. The answer replaces the earlier one for that session: speculation that is under way and no
longer wanted is cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from simkv.kv.prefix import Part
from simkv.predictors.gap import Gap
from simkv.predictors.question import Item
from simkv.registry import Registry

Kind = Literal["kv", "text", "compute"]

#: When a policy may be asked. "query": a turn was learned of; "pause": its answer has ended; "hint": the client says
#: what it will ask (`workload.hints`); "timer": the earliest `start_s` of the last answer has come.
Moment = Literal["query", "pause", "hint", "timer"]

#: What a policy that says nothing of `moments` is asked at.
AT_QUERIES: frozenset[Moment] = frozenset({"query"})


class Prefetch(NamedTuple):
    """One thing to move ahead of time.

    Attributes
    ----------
    item : chunk index, or the last run (start, count) of a chain; what it depends on comes with it.
    kind : "kv" = the source computes and sends KV; "text" = it sends text, the receiver prefills in idle time;
        "compute" = the source computes KV and keeps it.
    deadline_s : [s] when it is needed. What has a deadline is sent one after the other, earliest deadline first,
        among all sessions of a link; what has none shares the link at once.
    start_s : [s] not to begin before; the policy is asked again then ("timer").
    """

    item: Item
    kind: Kind = "kv"
    deadline_s: float | None = None
    start_s: float = 0.0


class Foresight(Protocol):
    """What only oracles may ask."""

    def next_parts(self, count: int) -> Mapping[Item, tuple[Part, ...]]:
        """Return the items of the next `count` turns of this session, soonest first, each with all that it needs.

        In recorded order of arrival where the trace has no session identity.
        """

    def next_gap_s(self) -> float | None:
        """Return [s] from the end of this turn's answer to the next query; None when there is none, or no session."""

    def earliest_s(self, count: int) -> Mapping[Item, float]:
        """Return [s] how soon the items of the next `count` turns may be needed, as if all answers took no time."""


@dataclass(frozen=True, slots=True)
class LinkView:
    """What whoever speculates believes of the link that it would use.

    Attributes
    ----------
    rate_bps : returns [bit/s] what the scenario's estimator makes of what was measured; None before the first transfer.
    demand_ratio : returns the share of that rate that demand took lately (the load rho_0), 0 to 1.
    backlog_bytes : returns [bytes] of speculation asked for and not arrived, of all other sessions together.
    delay_s : [s] one way.
    """

    rate_bps: Callable[[], float | None]
    demand_ratio: Callable[[], float]
    backlog_bytes: Callable[[], int]
    delay_s: float


class Record(NamedTuple):
    """What became of the last speculated items that whoever speculates knows the fate of (at most 64).

    Attributes
    ----------
    known : how many these are.
    used : of them, how many the next query asked for.
    late : of those used, how many were not there in time.
    settled : how many there ever were.
    displaced_blocks : what speculation pushed out lately, at most 64 times.
    missed_blocks : of that, what a query lacked since.
    """

    known: int
    used: int
    late: int
    settled: int = 0
    displaced_blocks: int = 0
    missed_blocks: int = 0


UNKNOWN_LINK = LinkView(lambda: None, lambda: 0.0, lambda: 0, 0.0)
NO_RECORD = Record(0, 0, 0)


@dataclass(slots=True)
class PrefetchView:
    """What a prefetch policy may know; live, valid during the call only.

    Attributes
    ----------
    now_s : [s] the time where it is asked.
    asked : the items asked so far in the session, newest last.
    chunks : number of chunks of the session's document; 0 when the session names block runs.
    probabilities : returns {item: P(the next query needs it | history)} from the scenario's predictor.
    held : whether the receiver is believed to hold an item with all that it needs, or the query that was just learned
        of brings it (a pushing source has a directory, semantics C2).
    item_bytes : [bytes] of KV of an item and of all that it needs.
    lacking_bytes : [bytes] that would go over the link for an item: of it and of what it needs, as far as the receiver
        is believed to lack it, as KV or as text; 0 for what is only computed ahead. What `held` counts is not lacking.
    foresight : the future, for oracles; None for everyone else.
    moment : why it is asked.
    hinted : items that the client said it will ask next; empty without a hint since the last query.
    compute_s : [s] how long the source would compute what an item needs and it lacks; 0 while nobody can tell.
    until_next : how long until the next query: the scenario's timing predictor; None while nobody can tell. While
        the answer is still being made it counts from now, the rest of the answer taken as average.
    link : what is believed of the link.
    buffer_bytes : [bytes] of KV that the receiver can hold.
    record : what became of earlier speculation.
    """

    now_s: float
    asked: Sequence[Item]
    chunks: int
    probabilities: Callable[[], Mapping[Item, float]]
    held: Callable[[Item], bool]
    item_bytes: Callable[[Item], int]
    foresight: Foresight | None = None
    moment: Moment = "query"
    hinted: Sequence[Item] = ()
    compute_s: Callable[[Item], float] = lambda _: 0.0
    until_next: Callable[[], Gap | None] = lambda: None
    link: LinkView = UNKNOWN_LINK
    buffer_bytes: int = 0
    record: Record = NO_RECORD
    lacking_bytes: Callable[[Item, Kind], int] = lambda _item, _kind: 0


class PrefetchPolicy(Protocol):
    """One method to write.

    A class may say more of itself: `moments: ClassVar[frozenset[Moment]]` = when it is asked (default: at queries);
    `needs_chunks: ClassVar[bool]` = it works on documents only; `asks_predictor: ClassVar[bool]` = whether it looks at
    probabilities (default: it does); `reserved_ratio: float` = the share of the link that
    is cut off for its speculation alone.
    """

    def decide(self, view: PrefetchView) -> list[Prefetch]:
        """Return what to move, most urgent first; what the receiver holds may be named and is skipped."""


PREFETCH: Registry[PrefetchPolicy] = Registry("prefetch policy", "simkv.prefetch")


def moments_of(policy: PrefetchPolicy | type) -> frozenset[Moment]:
    """Return when a policy, or every one of its class, wants to be asked."""
    found: frozenset[Moment] = getattr(policy, "moments", AT_QUERIES)
    return found
