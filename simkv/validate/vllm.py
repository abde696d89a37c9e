"""Does simkv take as long as vLLM did? A recorded run played again, request by request.

Arrivals are those at which the run's engine got each request; lengths, block ids, the engine's arguments and the
number of KV blocks are the run's; what a step costs is a measured profile's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simkv.clock import Order, call_at
from simkv.compute.host import WithHost
from simkv.errors import InputError
from simkv.metrics import PERCENTILES
from simkv.policies.batching import BATCHING
from simkv.policies.routing import ROUTING
from simkv.profiling import MeasuredProfile, open_profile
from simkv.replay import Records, Replay
from simkv.validate.vllm_run import VllmRun, read

#: [s] Host time a step: what one sequence that decodes alone takes longer than its kernels on the RTX 4090 run,
#: 18.0 against 16.9 ms. With asynchronous scheduling it hides behind every step of both shared runs.
HOST_S = 0.0011

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """What was measured, what simkv says, and how far they are apart.

    Attributes
    ----------
    metrics : by name, then statistic: measured, simulated [s], error_ratio = simulated / measured - 1; without those
        that no request has (TPOT of answers of one token).
    rank_correlation : Spearman's, of the order in which requests were scheduled first; None = there is no order.
    running_mae_ratio : mean absolute difference of the sequences in the batch, once a second, over their mean.
    facts : what it rests on, in words.
    """

    run: str
    profile: str
    num_gpu_blocks: int
    metrics: dict[str, dict[str, dict[str, float]]]
    rank_correlation: float | None
    running_mae_ratio: float | None
    preemptions: int
    cached_ratio: float
    extrapolated_time_ratio: float
    facts: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON prints it."""
        return {"schema_version": 1, **self.__dict__}


def validate(
    run: Path,
    profile: Path | None = None,
    num_gpu_blocks: int | None = None,
    *,
    host_s: float = HOST_S,
    link_bandwidth_bytes_per_s: float | None = None,
    link_latency_s: float | None = None,
    strict: bool = False,
    step_by_step: bool = False,
) -> Comparison:
    """Play a recorded vLLM run and compare.

    Parameters
    ----------
    run : folder; see `vllm_run.read`.
    profile : a simkv profile, or a folder of measured tables; None = the tables beside the run.
    num_gpu_blocks : as vLLM counts them; None = as recorded, or else from the memory.
    host_s : [s] host time a step.
    link_bandwidth_bytes_per_s, link_latency_s : [bytes/s, s] between GPUs; None = as node_config.json says.
    strict : refuse what was not measured.
    step_by_step : do not leap.

    Raises
    ------
    InputError : something is absent or damaged, or has no model here.
    """
    told = read(run, num_gpu_blocks)
    path = profile if profile is not None else _beside(told)
    measured = open_profile(path, told.gpus)
    bandwidth, latency = _link(told, link_bandwidth_bytes_per_s, link_latency_s)
    together = told.ranks if told.shape.experts else 1
    step_time = measured.step_time(told.shape, bandwidth, latency, strict, expert_ranks=together)
    replay = Replay(
        told.asked,
        told.engine,
        [WithHost(step_time, host_s, told.engine.async_scheduling)] * (told.ranks // together),
        batching=BATCHING.create("priority" if told.scheduling_policy == "priority" else "chunked-fcfs"),
        routing=ROUTING.create("least-loaded"),
        step_by_step=step_by_step,
    )
    running = _sampled(replay, [at_s for at_s, _ in told.running])
    records = replay.run()
    if records.rejected:
        raise InputError(f"{records.rejected} requests do not fit into {told.engine.blocks} KV blocks", str(run))
    busy_s = sum(gpu.demand_s for gpu in replay.gpus)
    return Comparison(
        run=str(run),
        profile=str(path),
        num_gpu_blocks=told.num_gpu_blocks,
        metrics=_metrics(told, records),
        rank_correlation=_rank_correlation(told, records),
        running_mae_ratio=_mae_ratio([count for _, count in told.running], running),
        preemptions=sum(gpu.preemptions for gpu in replay.gpus),
        cached_ratio=sum(records.cached_tokens) / sum(records.input_tokens),
        extrapolated_time_ratio=sum(gpu.extrapolated_s for gpu in replay.gpus) / busy_s,
        facts=_facts(told, measured, host_s, bandwidth, latency),
    )


def _facts(
    told: VllmRun, measured: MeasuredProfile, host_s: float, bandwidth: float | None, latency: float | None
) -> dict[str, str]:
    """Return what a comparison rests on, in words."""
    engine = told.engine
    facts = {
        "model": told.shape.name,
        "device": told.device or "unknown",
        "KV blocks": f"{told.num_gpu_blocks:,} of {engine.block_tokens} tokens, {told.blocks_told}; one of them"
        " is vLLM's null block",
        "engine": f"budget {engine.token_budget:,} tokens, {engine.max_sequences} sequences,"
        f" {'asynchronous' if engine.async_scheduling else 'synchronous'} scheduling, {told.scheduling_policy}",
        "host": f"{1000 * host_s:g} ms a step, {'hidden' if engine.async_scheduling else 'added'}",
    }
    if told.ranks > 1 and told.shape.experts:
        facts["ranks"] = (
            f"{told.ranks} data-parallel ranks in lockstep, priced as one engine of their summed limits; experts spread"
            f" over them, tokens over a ring of {bandwidth:.3g} bytes/s, {latency:.3g} s a hop"
        )
    elif told.ranks > 1:
        facts["ranks"] = f"{told.ranks} engines of their own; requests go to the least loaded"
    if told.gpus > 1:
        facts["all-reduce"] = f"two a layer, ring over {told.gpus} GPUs, {bandwidth:.3g} bytes/s, {latency:.3g} s"
    facts |= {f"profile: {name}": str(note) for name, note in measured.notes.items()}
    return facts


def _beside(run: VllmRun) -> Path:
    """Return the folder of tables that lies beside a run, or say what is wanted."""
    name = run.path.resolve().name
    for path in (run.path / "profile", run.path.resolve().parent.parent / "gpu_profiles" / "llmservingsim" / name):
        if path.is_dir():
            return path
    device = f" of {run.device}" if run.device else ""
    raise InputError(f"want --profile: a simkv profile or a folder of measured tables{device}", str(run.path))


def _link(run: VllmRun, bandwidth: float | None, latency: float | None) -> tuple[float | None, float | None]:
    if run.link is not None and (run.gpus > 1 or run.ranks > 1):
        bandwidth = run.link.bandwidth_bytes_per_s if bandwidth is None else bandwidth
        latency = run.link.latency_s if latency is None else latency
    return bandwidth, latency


def _sampled(replay: Replay, times_s: list[float]) -> list[int]:
    """Return a list that is filled with the sequences in the batch at each of these moments as they are played."""
    found: list[int] = []
    for at_s in times_s:
        call_at(replay.env, at_s, Order.DECISION, lambda: found.append(sum(gpu.running for gpu in replay.gpus)))
    return found


def _metrics(run: VllmRun, records: Records) -> dict[str, dict[str, dict[str, float]]]:
    columns = np.array(run.measured)
    outputs = np.array([asked.output_tokens for asked in run.asked])
    simulated = np.column_stack([records.arrival_s, records.scheduled_s, records.first_token_s, records.last_token_s])
    ours, theirs = _times(simulated, outputs), _times(columns, outputs)
    return {name: _errors(theirs[name], ours[name]) for name in ours if len(ours[name])}


def _times(columns: Floats, outputs: NDArray[np.int64]) -> dict[str, Floats]:
    queued, scheduled, first, last = columns.T
    several = outputs > 1
    return {
        "ttft_s": first - queued,
        "tpot_s": (last - first)[several] / (outputs[several] - 1),
        "e2e_s": last - queued,
        "scheduled_to_first_s": first - scheduled,
    }


def _errors(measured: Floats, simulated: Floats) -> dict[str, dict[str, float]]:
    found = {}
    for name, of in {"mean": np.mean, **{f"p{p}": _percentile(p) for p in PERCENTILES}}.items():
        theirs, ours = float(of(measured)), float(of(simulated))
        found[name] = {"measured": theirs, "simulated": ours, "error_ratio": ours / theirs - 1}
    return found


def _percentile(percent: int) -> Any:
    return lambda values: np.percentile(values, percent)


def _rank_correlation(run: VllmRun, records: Records) -> float | None:
    from scipy.stats import spearmanr  # noqa: PLC0415 - a second to import, wanted here alone

    scheduled = [measured.scheduled_s for measured in run.measured]
    if min(len(set(scheduled)), len(set(records.scheduled_s))) < 2:
        return None
    return float(spearmanr(scheduled, list(records.scheduled_s)).statistic)


def _mae_ratio(measured: list[int], simulated: list[int]) -> float | None:
    if not any(measured):
        return None
    return float(np.mean(np.abs(np.array(measured) - np.array(simulated))) / np.mean(measured))
