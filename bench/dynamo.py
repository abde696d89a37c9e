"""simkv beside NVIDIA Dynamo's replay (Rust): requests per CPU second, agreement, and how cost grows.

Paired rounds, each program in a fresh process, CPU seconds as each counts them for itself (imports excluded, reading of
the trace included); medians. W1 are 10,000 single-turn requests, W2 as many in conversations over a prefix cache; then
200,000 and 1,000,000 requests of simkv alone, with the slope of cost and the peak of memory, and the time of bare SimPy
for as many events.

    python bench/dynamo.py [--rounds 5] [--large 200000 1000000]

Dynamo is installed once into an environment of its own (SIMKV_PEERS, by default in the user's cache folder); where that
is not possible, simkv runs alone and the line says so. With aiconfigurator-core beside it both are given the same
measured step times of an H100, and their answers are compared.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import simpy

from simkv.clock import Order, call_at

HERE = Path(__file__).resolve().parent
PEERS = Path(os.environ.get("SIMKV_PEERS", Path.home() / ".cache" / "simkv-peers"))
DYNAMO, AIC = "ai-dynamo-runtime==1.6.1", "aiconfigurator-core==0.12.0"
KEYS = ("mean_ttft", "mean_tpot", "mean_e2e")

#: Run in Dynamo's environment: one replay, its CPU seconds, its means in seconds.
REPLAY = """
import json, sys, time
from dynamo._core import run_mocker_trace_replay
trace, profile = sys.argv[1], sys.argv[2]
model = {"type": "external", "provider": "dynamo_profile", "config": {"path": profile}}
engine = {"engine": {"timing_model": model}} if profile else {}
began = time.process_time()
report = run_mocker_trace_replay([trace], extra_engine_args=engine, num_workers=1, trace_block_size=512,
                                 router_mode="round_robin", arrival_speedup_ratio=1.0, trace_format="mooncake")
cpu_s, told = time.process_time() - began, report.summary
print(json.dumps({"requests_per_cpu_s": told["completed_requests"] / cpu_s,
                  "cached_ratio": told["prefix_cache_reused_ratio"],
                  "mean_ttft_s": told["mean_ttft_ms"] / 1e3, "mean_tpot_s": told["mean_tpot_ms"] / 1e3,
                  "mean_e2e_s": told["mean_e2e_latency_ms"] / 1e3}))
"""

#: Run in aiconfigurator's environment: measured step times of an 8B model on an H100 as Dynamo's timing profile.
PROFILE = """
import logging, sys, warnings
import numpy as np
warnings.filterwarnings("ignore"); logging.disable(logging.WARNING)
from aiconfigurator_core.sdk.engine import EngineHandle
engine = EngineHandle.compile("meta-llama/Meta-Llama-3.1-8B", "h100_sxm", "vllm")
lengths = np.unique(np.geomspace(16, 16384, 60).astype(int))
kv = np.unique(np.geomspace(64, 524288, 48).astype(int)); contexts = np.unique(np.geomspace(64, 16384, 32).astype(int))
np.savez(sys.argv[1], prefill_isl=lengths.astype(float),
         prefill_ttft_ms=np.array([engine.predict_prefill_latency(1, int(n)) for n in lengths]),
         decode_active_kv_tokens=kv.astype(float), decode_context_length=contexts.astype(float),
         decode_itl=np.array([[engine.decode_step_latency(max(1, round(a / c)), int(c), 2) for c in contexts]
                              for a in kv]))
"""


def environment(package: str) -> Path | None:
    """Return the Python of an environment that has a rival; None where it cannot be installed."""
    home = PEERS / package.replace("==", "-")
    python = home / "bin" / "python"
    ready = home / "ready"
    if not ready.exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]
            subprocess.run(pip, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"{package} cannot be installed here: {error}")
            return None
        ready.touch()
    return python


def last_json(command: list[str]) -> dict[str, float]:
    """Run a program in a fresh process; return its last line."""
    settings = {**os.environ, "DYN_LOG": "error"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=settings)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def ours(trace: Path, profile: Path | None = None) -> dict[str, float]:
    """Replay a trace with simkv."""
    more = [] if profile is None else ["--profile", str(profile)]
    return last_json([sys.executable, str(HERE / "w1.py"), str(trace), *more])


def theirs(python: Path, trace: Path, profile: Path | None = None) -> dict[str, float]:
    """Replay a trace with Dynamo."""
    return last_json([str(python), "-c", REPLAY, str(trace), str(profile or "")])


def bare_simpy_s(events: int) -> float:
    """Return CPU seconds that SimPy takes to fire that many callbacks that do nothing."""
    env, left = simpy.Environment(), [events]

    def again() -> None:
        if left[0]:
            left[0] -= 1
            call_at(env, env.now + 1.0, Order.STEP_END, again)

    again()
    began_s = time.process_time()
    env.run()
    return time.process_time() - began_s


def measured_profiles(folder: Path) -> tuple[Path, Path] | None:
    """Return the same step times for Dynamo (.npz) and for simkv (.json); None where they cannot be made."""
    python = environment(AIC)
    if python is None:
        return None
    npz, profile = folder / "h100.npz", folder / "h100.json"
    subprocess.run([str(python), "-c", PROFILE, str(npz)], check=True, stderr=subprocess.DEVNULL)
    command = [sys.executable, "-m", "simkv.cli", "profile", "import", "dynamo-npz", str(npz)]
    subprocess.run([*command, "--model", "Llama-3.1-8B", "--out", str(profile)], check=True, stdout=subprocess.DEVNULL)
    return npz, profile


def race(name: str, trace: Path, python: Path | None, rounds: int) -> None:
    """Print requests per CPU second of both, and their ratio: medians of paired rounds."""
    pairs = []
    for _ in range(rounds):
        mine = ours(trace)["requests_per_cpu_s"]
        pairs.append((mine, theirs(python, trace)["requests_per_cpu_s"] if python is not None else math.nan))
    rate = statistics.median(mine for mine, _ in pairs)
    other = statistics.median(other for _, other in pairs)
    ratio = statistics.median(mine / other for mine, other in pairs)
    print(f"{name}: simkv {rate:,.0f} requests per CPU s, Dynamo {other:,.0f}, ratio {ratio:.2f} ({rounds} rounds)")


def agree(name: str, trace: Path, python: Path, profiles: tuple[Path, Path]) -> None:
    """Print how far the answers are apart with the same step times."""
    npz, profile = profiles
    mine, other = ours(trace, profile), theirs(python, trace, npz)
    for key in (f"{key}_s" for key in KEYS):
        apart = 100 * (mine[key] / other[key] - 1)
        print(f"{name}, same step times: {key} simkv {mine[key]:.6f}, Dynamo {other[key]:.6f} ({apart:+.4f} %)")
    print(
        f"{name}: share of prompt tokens found in the cache: simkv {mine['cached_ratio']:.4f},"
        f" Dynamo {other['cached_ratio']:.4f}"
    )
    print(
        f"{name}, same step times: simkv {mine['requests_per_cpu_s']:,.0f} requests per CPU s,"
        f" Dynamo {other['requests_per_cpu_s']:,.0f}"
    )


def grow(folder: Path, sizes: list[int]) -> None:
    """Print cost and memory at several sizes, the slope of cost, and its ratio to bare SimPy."""
    points = []
    for size in sizes:
        trace = folder / f"w1-{size}.jsonl"
        command = [sys.executable, str(HERE / "workload.py"), str(trace), "-n", str(size), "--rate", "16"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found = ours(trace)
        trace.unlink()
        ratio = found["cpu_s"] / bare_simpy_s(int(found["events"]))
        points.append((size, found["cpu_s"]))
        print(
            f"{size:,} requests: {found['requests_per_cpu_s']:,.0f} per CPU s, {found['cpu_s']:.2f} CPU s,"
            f" peak memory {found['peak_mb']:.0f} MB, {ratio:.1f} x bare SimPy for {found['events']:,.0f} callbacks"
        )
    if len(points) > 1:
        xs, ys = ([math.log(value) for value in column] for column in zip(*points, strict=True))
        print(f"log-log slope of cost: {statistics.linear_regression(xs, ys).slope:.3f}")


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, nargs="*", default=[10_000, 50_000, 200_000, 1_000_000])
    options = parser.parse_args()
    python = environment(DYNAMO)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        profiles = measured_profiles(folder) if python is not None else None
        for workload, turns in (("W1", 1), ("W2", 6)):
            trace = folder / f"{workload}.jsonl"
            command = [sys.executable, str(HERE / "workload.py"), str(trace), "--turns", str(turns)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            race(workload, trace, python, options.rounds)
            if python is not None and profiles is not None:
                agree(workload, trace, python, profiles)
        grow(folder, options.large)


if __name__ == "__main__":
    main()
