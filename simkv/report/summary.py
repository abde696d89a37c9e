"""What do all runs together say? Replications to means with intervals, arms to differences and ratios.

Times and ratios are means over replications. Requests, bytes and GPU-seconds are totals over them, so that
the sums of semantics F1 hold to the byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simkv.metrics import (
    PERCENTILES,
    TIMES,
    Metrics,
    Observed,
    Paired,
    mean_ttft_of_common,
    net_efficiency,
    paired,
    replication_metrics,
    request_counts,
    wasted_bytes,
)
from simkv.report.comparison import ArmInfo
from simkv.report.regrets import Regret, references, regrets
from simkv.results import MISS_CAUSES, OUTCOMES, SCHEMA_VERSION, RunResult
from simkv.statistics import Estimate, holm, mean_interval, p_value, paired_difference, ratio_of_means, share_removed

#: Name of a comparison in the JSON -> metric of `Observed.times` over the paired turns. A bare time is its mean;
#: the difference in `ttft_s.sum` is minus the latency saved.
COMPARED = {
    "ttft_s": "ttft_s.mean",
    "ttft_s.p50": "ttft_s.p50",
    "ttft_s.p90": "ttft_s.p90",
    "ttft_s.p95": "ttft_s.p95",
    "ttft_s.p99": "ttft_s.p99",
    "ttft_s.sum": "ttft_s.sum",
    "tpot_s": "tpot_s.mean",
    "e2e_s": "e2e_s.mean",
    "stall_s": "stall_s.mean",
}

#: Ratios that the JSON gives of each arm, in its order.
RATIOS = ("any_hit_ratio", "any_hit_ratio_all_queries", "complete_hit_ratio", "coverage", "accuracy", "timeliness")


@dataclass(frozen=True, slots=True)
class Contrast:
    """One arm against one baseline in one metric, over the turns that finished in both.

    Attributes
    ----------
    difference : arm - baseline.
    ratio : baseline / arm, of the means.
    p : p-value of no difference, uncorrected; None with one replication.
    """

    arm: str
    baseline: str
    metric: str
    difference: Estimate
    ratio: Estimate
    p: float | None


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One arm over all its replications.

    Attributes
    ----------
    metrics : mean over replications and interval, by the names of `metrics.py`.
    requests, speculative_bytes, speculative_gpu_s, pollution_bytes, link_bytes : totals over replications;
        `link_bytes` are wire bytes by traffic class, summed over links.
    saved_s : [s] a replication, TTFT saved against the baseline over paired turns.
    unpaired : turns of all replications that did not finish both here and in the baseline.
    net_efficiency : [s/MB] see `metrics.net_efficiency`.
    quality : the runs' notes on answer quality (semantics F4): words, or an F1.
    stall_removed : [s] mean stall of the baseline - that of the arm, over paired turns.
    stall_removed_ratio : the same as a share of the baseline's; None where that never stalls.
    regrets : by question, "prefetch" and "eviction".
    replications : what `metrics` are the means of.
    """

    info: ArmInfo
    metrics: dict[str, Estimate]
    requests: dict[str, int]
    speculative_bytes: dict[str, int]
    speculative_gpu_s: dict[str, float]
    pollution_bytes: int
    link_bytes: dict[str, int]
    saved_s: Estimate
    unpaired: int
    net_efficiency: float | None
    wasted_bytes: int
    quality: tuple[Any, ...]
    stall_removed: Estimate
    stall_removed_ratio: Estimate
    regrets: dict[str, Regret]
    replications: tuple[Metrics, ...]

    @property
    def quality_f1(self) -> float | None:
        """Mean F1 over replications; None where quality is told in words."""
        numbers = [q for q in self.quality if isinstance(q, int | float) and not isinstance(q, bool)]
        return sum(numbers) / len(numbers) if numbers and len(numbers) == len(self.quality) else None


@dataclass(frozen=True, slots=True)
class Summary:
    """Every arm and every comparison.

    Attributes
    ----------
    baseline : the arm that differences and latency saved refer to: "none", else the first.
    best : the best non-speculative feasible arm by mean TTFT, which "N x" refers to; None if there is none.
    p_holm : by arm, of its TTFT against the baseline, corrected for the number of arms.
    """

    arms: tuple[ArmSummary, ...]
    contrasts: tuple[Contrast, ...]
    baseline: str
    best: str | None
    p_holm: dict[str, float | None]

    def contrast(self, arm: str, baseline: str | None, metric: str = "ttft_s") -> Contrast | None:
        """Return one comparison, or None where there is none (an arm with itself)."""
        wanted = (arm, baseline, metric)
        return next((c for c in self.contrasts if (c.arm, c.baseline, c.metric) == wanted), None)


def summarise(arms: Sequence[ArmInfo], runs: Mapping[str, Sequence[RunResult]], seed: int) -> Summary:
    """Summarise all runs of a comparison.

    Parameters
    ----------
    arms : in table order, at least one.
    runs : by arm, in replication order, equally many for each.
    seed : of the bootstrap.
    """
    seen = {arm.name: [Observed.of(run) for run in runs[arm.name]] for arm in arms}
    baseline = "none" if "none" in seen else arms[0].name
    best = fastest([arm.name for arm in arms if arm.may_be_best], seen)
    against = references(arms, lambda names: fastest(names, seen))
    knowing = {arm.name: [other for (name, _), other in against.items() if name == arm.name] for arm in arms}
    pairs = {
        (arm.name, other): [paired(a, b) for a, b in zip(seen[arm.name], seen[other], strict=True)]
        for arm in arms
        for other in dict.fromkeys((baseline, best, *knowing[arm.name]))
        if other is not None
    }
    contrasts = tuple(
        _contrast(arm, other, name, metric, pairs[arm, other], seed)
        for arm, other in pairs
        if arm != other
        for name, metric in COMPARED.items()
        if other in (baseline, best) or name == "ttft_s"
    )
    differences = {(c.arm, c.baseline): c.difference for c in contrasts if c.metric == "ttft_s"}
    summaries = tuple(
        _arm_summary(
            arm,
            runs[arm.name],
            seen[arm.name],
            pairs[arm.name, baseline],
            regrets(arm.name, against, lambda ours, theirs: differences[ours, theirs]),
            seed,
        )
        for arm in arms
    )
    headline = [c for c in contrasts if c.baseline == baseline and c.metric == "ttft_s"]
    corrected = dict(zip((c.arm for c in headline), holm([c.p for c in headline]), strict=True))
    return Summary(summaries, contrasts, baseline, best, corrected)


def fastest(names: Sequence[str], seen: Mapping[str, list[Observed]]) -> str | None:
    """Return the arm with the lowest mean TTFT over the turns finished in all of these; None of none."""
    if not names:
        return None
    replications = zip(*(seen[name] for name in names), strict=True)
    means = [mean_interval(column).value for column in zip(*map(mean_ttft_of_common, replications), strict=True)]
    ranked = [(mean, rank) for rank, mean in enumerate(means) if mean is not None]
    return names[min(ranked)[1]] if ranked else names[0]


def _contrast(arm: str, baseline: str, name: str, metric: str, pairs: Sequence[Paired], seed: int) -> Contrast:
    ours, theirs = [p.arm[metric] for p in pairs], [p.baseline[metric] for p in pairs]
    differences = [None if a is None or b is None else a - b for a, b in zip(ours, theirs, strict=True)]
    return Contrast(
        arm,
        baseline,
        name,
        difference=paired_difference(ours, theirs),
        ratio=ratio_of_means(theirs, ours, seed),
        p=p_value(differences),
    )


def _arm_summary(
    info: ArmInfo,
    runs: Sequence[RunResult],
    seen: Sequence[Observed],
    pairs: Sequence[Paired],
    found_regrets: dict[str, Regret],
    seed: int,
) -> ArmSummary:
    each: list[Metrics] = [replication_metrics(run, observed) for run, observed in zip(runs, seen, strict=True)]
    metrics = {name: mean_interval([found[name] for found in each]) for name in each[0]}
    saved_s = mean_interval([pair.saved_s for pair in pairs])
    stalls_s = [pair.arm["stall_s.mean"] for pair in pairs]
    baseline_stalls_s = [pair.baseline["stall_s.mean"] for pair in pairs]
    classes = sorted({traffic for run in runs for link in run.links.values() for traffic in link.wire_bytes_by_class})
    return ArmSummary(
        info=info,
        metrics=metrics,
        requests=request_counts(runs),
        speculative_bytes={name: sum(run.speculative_bytes[name] for run in runs) for name in OUTCOMES},
        speculative_gpu_s={name: sum(run.speculative_gpu_s[name] for run in runs) for name in OUTCOMES},
        pollution_bytes=sum(run.pollution_bytes for run in runs),
        link_bytes={
            name: sum(link.wire_bytes_by_class.get(name, 0) for run in runs for link in run.links.values())
            for name in classes
        },
        saved_s=saved_s,
        unpaired=sum(pair.unpaired for pair in pairs),
        net_efficiency=net_efficiency(saved_s.value, metrics["any_hit_ratio"].value, metrics["wasted_bytes"].value),
        wasted_bytes=sum(wasted_bytes(run) for run in runs),
        quality=tuple(dict.fromkeys(run.notes["quality"] for run in runs if "quality" in run.notes)),
        stall_removed=paired_difference(baseline_stalls_s, stalls_s),
        stall_removed_ratio=share_removed(baseline_stalls_s, stalls_s, seed),
        regrets=found_regrets,
        replications=tuple(each),
    )


def to_json(summary: Summary, scenario: str, seed: int, replications: int) -> dict[str, Any]:
    """Return the summary as the `run --json` document; None stands for undefined."""
    return {
        "schema_version": SCHEMA_VERSION,
        "scenario": scenario,
        "seed": seed,
        "replications": replications,
        "arms": [_arm_json(arm) for arm in summary.arms],
        "comparisons": [
            {
                "arm": c.arm,
                "baseline": c.baseline,
                "metric": c.metric,
                "difference": c.difference.value,
                "difference_ci95": c.difference.interval,
                "ratio": c.ratio.value,
                "ratio_ci95": c.ratio.interval,
            }
            for c in summary.contrasts
        ],
    }


def _arm_json(arm: ArmSummary) -> dict[str, Any]:
    metrics: dict[str, Any] = {name: _time_json(arm, name) for name in TIMES}
    metrics |= {name: arm.metrics[name].value for name in RATIOS}
    metrics |= {
        "wasted_bytes": arm.wasted_bytes,
        "net_efficiency": arm.net_efficiency,
        "quality_f1": arm.quality_f1,
    }
    metrics["readiness"] = arm.metrics["readiness"].value
    return {
        "name": arm.info.name,
        "prefetch": arm.info.prefetch,
        "eviction": arm.info.eviction,
        "predictor": arm.info.predictor,
        "metrics": metrics,
        "speculative_bytes": arm.speculative_bytes,
        "speculative_gpu_s": arm.speculative_gpu_s,
        "pollution_bytes": arm.pollution_bytes,
        "requests": arm.requests,
        "extrapolated_time_ratio": arm.metrics["extrapolated_time_ratio"].value,
        "exposed_stall_removed": {
            "seconds": arm.stall_removed.value,
            "ci95": arm.stall_removed.interval,
            "ratio": arm.stall_removed_ratio.value,
            "ratio_ci95": arm.stall_removed_ratio.interval,
        },
        **{f"regret_{question}": regret.to_json() for question, regret in arm.regrets.items()},
        "miss_causes": {cause: arm.metrics[f"missed.{cause}"].value for cause in MISS_CAUSES},
    }


def _time_json(arm: ArmSummary, name: str) -> dict[str, Any]:
    keys = ("mean", *(f"p{p}" for p in PERCENTILES))
    values: dict[str, Any] = {key: arm.metrics[f"{name}.{key}"].value for key in keys}
    return values | {"mean_ci95": arm.metrics[f"{name}.mean"].interval}
