"""Takes down facts, one column each; decides nothing and computes nothing but differences of times."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from simkv.kv.reusable import Reusable
from simkv.network.flow import TransferRecord
from simkv.policies.routing import VisibleRequest
from simkv.results import REQUEST_COLUMNS, TRANSFER_COLUMNS


@dataclass(slots=True, eq=False)
class Request:
    """One turn while it is served, and what is known of it so far. Times [s] are NaN before they happen.

    It outlives its conversation, so it names it and holds nothing of it.
    """

    request_id: int
    session_id: str
    session: int
    turn: int
    arrival_s: float
    server: str = ""
    scheduled_s: float = math.nan
    first_token_s: float = math.nan
    last_token_s: float = math.nan
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    status: str = "unfinished"
    ready_at_arrival: bool = False
    stall_s: float = math.nan
    interference_s: float = 0.0
    preemptions: int = 0
    needed_units: int = 0
    in_time_units: int = 0
    late_units: int = 0
    evicted_units: int = 0
    wrong_units: int = 0
    cancelled_units: int = 0
    refused_units: int = 0
    uncreated_units: int = 0
    unpredicted_units: int = 0

    def visible(self, home: int | None, reusable: Reusable) -> VisibleRequest:
        """Return all that a policy may see of it."""
        return VisibleRequest(self.session, self.turn, self.input_tokens, home, reusable)


@dataclass(slots=True)
class Recorder:
    """The facts of one run.

    Attributes
    ----------
    transfers : one list a column of `results.TRANSFER_COLUMNS`.
    """

    transfers: dict[str, list[Any]] = field(
        default_factory=lambda: {name: [] for name in TRANSFER_COLUMNS if name not in ("arm", "replication")}
    )
    _requests: list[Request] = field(default_factory=list)

    def arrived(self, request: Request) -> None:
        """Take a request in; it is counted from now on, whatever becomes of it."""
        self._requests.append(request)

    def transferred(self, record: TransferRecord) -> None:
        """Take down what one flow sent in one class."""
        for column, value in zip(self.transfers.values(), record, strict=True):
            column.append(value)

    def requests(self) -> dict[str, list[Any]]:
        """Return one list a column of `results.REQUEST_COLUMNS`, in order of arrival."""
        names = [name for name in REQUEST_COLUMNS if name not in ("arm", "replication")]
        return {name: [getattr(request, name) for request in self._requests] for name in names}
