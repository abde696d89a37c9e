"""Runs that no simulation made: what metrics, comparisons and reports are tested on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from simkv.report.comparison import ArmInfo, Comparison
from simkv.results import MISS_CAUSES, REQUEST_COLUMNS, TRANSFER_COLUMNS, LinkTotals, RunResult
from simkv.rng import stream

#: Arm -> (mean TTFT [s], chance that a unit comes in time, prefetch, acquisition, reference).
ARMS: dict[str, tuple[float, float, str, str, str]] = {
    "text": (3.1, 0.0, "none", "text", ""),
    "text-prefetch": (1.7, 0.5, "threshold", "text", ""),
    "none": (2.4, 0.0, "none", "fetch", ""),
    "sequential": (1.3, 0.45, "sequential", "fetch", ""),
    "threshold": (1.1, 0.6, "threshold", "fetch", ""),
    "oracle": (0.5, 0.9, "oracle", "fetch", "reference point: knows the next turn"),
    "perfect-residency": (0.2, 0.0, "none", "perfect-residency", "infeasible reference"),
}


@dataclass(frozen=True)
class PlugIn:
    name: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scenario:
    """As much of a scenario as a comparison reads."""

    name: str = "synthetic"
    seed: int = 7
    replications: int = 3
    arms: tuple[Any, ...] = ()
    path: Path = Path("absent/synthetic.yaml")
    trace: Path | None = None
    servers: dict[str, Any] = field(default_factory=lambda: {"ue": SimpleNamespace(gpu=PlugIn("analytic-phone-npu"))})

    def for_arm(self, name: str) -> Any:
        _, _, prefetch, acquisition, _ = ARMS[name]
        chosen = {"prefetch": prefetch, "acquisition": acquisition, "eviction": "lru", "predictor": "markov"}
        chosen |= {"timing": "semi-markov", "estimator": "ewma", "codec": "identity"}
        return SimpleNamespace(policies=SimpleNamespace(**{k: PlugIn(v) for k, v in chosen.items()}))


def scenario(names: list[str] | None = None, **fields: Any) -> Scenario:
    """Return a scenario with some of `ARMS`."""
    return Scenario(arms=tuple(PlugIn(name) for name in names or ARMS), **fields)


def request(session: int, turn: int, ttft_s: float | None = 1.0, **columns: Any) -> dict[str, Any]:
    """Return one request's row; without a TTFT it never started."""
    arrival_s = 100.0 * session + 10.0 * turn
    first_s = None if ttft_s is None else arrival_s + ttft_s
    return {
        "request_id": 100 * session + turn,
        "session_id": f"s{session}",
        "session": session,
        "turn": turn,
        "server": "ue",
        "arrival_s": arrival_s,
        "scheduled_s": first_s,
        "first_token_s": first_s,
        "last_token_s": None if first_s is None else first_s + 2.0,
        "input_tokens": 100,
        "cached_tokens": 64,
        "output_tokens": 5,
        "status": "finished" if first_s is not None else "unfinished",
        "ready_at_arrival": False,
        "stall_s": 0.0,
        "interference_s": 0.0,
        "preemptions": 0,
        "needed_units": 0,
        "in_time_units": 0,
        "late_units": 0,
        **{f"{cause}_units": 0 for cause in MISS_CAUSES[1:]},
    } | columns


def run_of(rows: list[dict[str, Any]], arm: str = "none", replication: int = 0, **fields: Any) -> RunResult:
    """Return a run with these requests."""
    names = [name for name in REQUEST_COLUMNS if name not in ("arm", "replication")]
    requests = {name: [row[name] for row in rows] for name in names}
    transfers: dict[str, list[Any]] = {n: [] for n in TRANSFER_COLUMNS if n not in ("arm", "replication")}
    return RunResult(arm, replication, requests, transfers, **fields)


def synthetic_run(arm: str, replication: int, seed: int, sessions: int = 20, turns: int = 5) -> RunResult:
    """Return a plausible run; the same session is slow in every arm, so pairing matters."""
    mean_s, in_time_chance, prefetch, _, _ = ARMS[arm]
    rows = []
    for session in range(sessions):
        slow = stream(seed, replication, session).lognormvariate(0.0, 0.8)
        own = stream(seed, replication, session, arm)
        for turn in range(turns):
            hit = own.random() < in_time_chance
            ttft_s = slow * mean_s * (0.3 if hit else 1.1) * own.uniform(0.9, 1.1)
            units = {"needed_units": 2, "in_time_units": 2 if hit else 0, "late_units": int(own.random() < 0.1)}
            units["unpredicted_units"] = max(0, 2 - units["in_time_units"] - units["late_units"])
            rows.append(request(session, turn, ttft_s, ready_at_arrival=hit, stall_s=0.1 * ttft_s, **units))
    run = run_of(rows, arm, replication, end_s=100.0 * sessions)
    if prefetch != "none":
        shares = {"used_in_time": 60, "used_late": 6, "cancelled": 9, "evicted": 7, "never_used": 18}
        bumped = {name: n + replication for name, n in shares.items()}
        run.speculative_units |= bumped
        run.speculative_bytes |= {name: 737_280 * n for name, n in bumped.items()}
        run.speculative_gpu_s |= {name: 0.05 * n for name, n in bumped.items()}
        run.pollution_bytes = 737_280 * replication
    speculative = sum(run.speculative_bytes.values())
    by_class = {"demand": 90_000_000 - speculative // 2, "speculative": speculative + 40_000, "background": 0}
    run.links["slice"] = LinkTotals(wire_bytes_by_class=by_class)
    run.transfers |= {"link": ["slice"], "class": ["demand"], "start_s": [0.0], "end_s": [1.0 + replication]}
    run.transfers |= {"payload_bytes": [1000], "wire_bytes": [1036], "outcome": ["delivered"]}
    run.notes |= {"quality": "equal by construction (exact prefix reuse, no codec)", "sessions": sessions}
    return run


def comparison(names: list[str] | None = None, replications: int = 3, **fields: Any) -> Comparison:
    """Return a comparison of synthetic runs."""
    chosen = names or list(ARMS)
    infos = tuple(ArmInfo(n, ARMS[n][2], "lru", "markov", ARMS[n][3], ARMS[n][4]) for n in chosen)
    runs = [synthetic_run(name, replication, 7, **fields) for name in chosen for replication in range(replications)]
    return Comparison(scenario(chosen, replications=replications), infos, runs, 7, replications)
