"""How many block accesses of a production trace does a replay take in a second of CPU time, by eviction policy?

Plays all requests of Mooncake's conversations (docs/data.md) through the buffer in runs, at one size; reading the trace
is not counted. Beside it, where it is installed, libCacheSim's rate for single blocks, called from Python. CPU seconds;
medians of rounds.

    python bench/mrc.py [--rounds 3] [--blocks 10000] [--policy lru ...]

Needs the trace; without it, says so and stops.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from simkv.errors import InputError
from simkv.mrc import accesses, replay
from simkv.policies import EVICTION
from simkv.workload import open_trace

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("SIMKV_DATA", ROOT.parent / "shared" / "data"))
THEIRS = {
    **{"arc": "ARC", "fifo": "FIFO", "gdsf": "GDSF", "lfu": "LFU", "lru": "LRU", "random": "Random"},
    **{"s3-fifo": "S3FIFO", "sieve": "Sieve", "slru": "SLRU", "w-tinylfu": "WTinyLFU"},
}


def rate(play: Callable[[], object], count: int, rounds: int) -> float:
    """Return accesses per CPU second: the median of rounds."""
    seconds = []
    for _ in range(rounds):
        began_s = time.process_time()
        play()
        seconds.append(time.process_time() - began_s)
    return count / statistics.median(seconds)


def theirs(name: str, size: int, blocks: list[int]) -> None:
    """Play single blocks through libCacheSim."""
    import libcachesim  # noqa: PLC0415 - GPL; only where a person has installed it

    cache, request = getattr(libcachesim, name)(size, hashpower=18), libcachesim.Request()
    request.obj_size = 1
    for block in blocks:
        request.obj_id = block
        cache.get(request)


def main() -> None:
    """Print one line a policy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--blocks", type=int, default=10_000)
    parser.add_argument("--policy", nargs="*", default=EVICTION.names())
    options = parser.parse_args()
    try:
        order = accesses(open_trace(DATA / "mooncake" / "conversation_0_40min.jsonl.xz"))
    except InputError as error:
        print(f"skipped: {error}")
        return
    blocks = [block for access in order for run in access.runs for block in range(run.start, run.end)]
    has_theirs = importlib.util.find_spec("libcachesim") is not None
    print(f"{len(blocks):,} accesses, {options.blocks:,} blocks of room; accesses per CPU second")
    for name in options.policy:
        ours = rate(lambda name=name: replay(order, EVICTION.create(name), options.blocks), len(blocks), options.rounds)
        line = f"{name:16} {ours:10,.0f}"
        if has_theirs and name in THEIRS:
            other = rate(lambda name=name: theirs(THEIRS[name], options.blocks, blocks), len(blocks), options.rounds)
            line += f"   libCacheSim, single blocks from Python {other:10,.0f}"
        print(line)


if __name__ == "__main__":
    main()
