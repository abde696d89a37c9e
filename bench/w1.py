"""How many requests of a Mooncake-format trace does one engine serve in a second of CPU time?

From file to summary: reading, batching under vLLM's rules over a paged pool with prefix cache, a record of every
request, and the summary; only imports are excluded. One replica of an 8B model on an H100 by its data sheet, unless a
profile is given. The last line is JSON.

    python bench/w1.py TRACE.jsonl [--profile PROFILE.json] [--blocks 65536] [--speedup 2]
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from simkv import model
from simkv.compute.profile import PROFILES
from simkv.compute.steptime import StepTime
from simkv.profiling import open_profile
from simkv.replay import Engine, Records, Replay
from simkv.workload.asked import Asked, mooncake

MODEL = "Llama-3.1-8B"
GPU = "analytic-h100-sxm"
MB_BYTES = 1e6
KB_BYTES = 1024  # ru_maxrss counts in these on Linux


def price_list(profile: Path | None) -> StepTime:
    """Return what a step costs."""
    shape = model.get(MODEL)
    return PROFILES.create(GPU).step_time(shape) if profile is None else open_profile(profile).step_time(shape)


def faster(requests: Iterator[Asked], times: float) -> Iterator[Asked]:
    """Yield the requests at so many times their rate."""
    return requests if times == 1 else (asked._replace(arrival_s=asked.arrival_s / times) for asked in requests)


def summary(records: Records) -> dict[str, float]:
    """Return means and tails of what every request saw [s]."""
    arrival, first, last = (np.array(c) for c in (records.arrival_s, records.first_token_s, records.last_token_s))
    outputs = np.array(records.output_tokens)
    several = outputs > 1
    times = {
        "ttft_s": first - arrival,
        "tpot_s": (last - first)[several] / (outputs[several] - 1),
        "e2e_s": last - arrival,
    }
    found = {f"mean_{name}": float(values.mean()) for name, values in times.items()}
    return found | {f"p99_{name}": float(np.percentile(values, 99)) for name, values in times.items()}


def main() -> None:
    """Replay, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--profile", type=Path, help="measured times, as `simkv profile import` writes them")
    parser.add_argument("--blocks", type=int, default=65_536, help="KV blocks of 16 tokens [65536]")
    parser.add_argument("--block-tokens", type=int, default=16)
    parser.add_argument("--token-budget", type=int, default=8192, help="tokens a step [8192]")
    parser.add_argument("--max-sequences", type=int, default=256)
    parser.add_argument("--speedup", type=float, default=1.0, help="arrivals so many times as fast")
    options = parser.parse_args()
    price = price_list(options.profile)
    engine = Engine(
        options.blocks,
        options.block_tokens,
        token_budget=options.token_budget,
        max_sequences=options.max_sequences,
        async_scheduling=False,
    )
    gc.set_threshold(100_000, 20, 100)  # as `simkv run` does: a run makes little cyclic garbage
    began_s = time.process_time()
    replay = Replay(faster(mooncake(options.trace, options.block_tokens), options.speedup), engine, [price])
    records = replay.run()
    found = summary(records)
    cpu_s = time.process_time() - began_s
    requests, prompt = len(records.arrival_s), sum(records.input_tokens)
    print(
        f"{requests:,} requests, {sum(records.output_tokens):,} tokens of answers, {replay.gpus[0].steps:,} steps,"
        f" {replay.gpus[0].preemptions:,} preemptions, {records.rejected:,} rejected; {cpu_s:.3f} CPU s"
    )
    facts = {
        "requests_per_cpu_s": round(requests / cpu_s, 1),
        "output_tokens_per_cpu_s": round(sum(records.output_tokens) / cpu_s),
        "requests": requests,
        "cpu_s": cpu_s,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KB_BYTES / MB_BYTES,
        "events": next(replay.env._eid),
        "steps": replay.gpus[0].steps,
        "cached_ratio": sum(records.cached_tokens) / prompt if prompt else 0.0,
        **found,
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
