"""Writes the two workloads of `bench/dynamo.py` in Mooncake's format; the last line tells what they hold.

W1: single-turn requests, Poisson arrivals, log-normal lengths, about 1,000 tokens in and 200 out.
W2: the same count as conversations of six turns, whose prompts grow by the answers before.

    python bench/workload.py OUT.jsonl [-n 10000] [--rate 8] [--turns 6] [--seed 1]
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path

BLOCK_TOKENS = 512  # of Mooncake's traces
MEAN_IN, MEAN_OUT = 1000, 200  # [tokens]
CV_IN, CV_OUT = 0.8, 0.6
THINK_S = 20.0  # mean pause between turns
MOST_TOKENS = 8192  # of a prompt and its answer
MS_PER_S = 1000


def log_normal(draws: random.Random, mean: float, cv: float) -> float:
    """Draw a number of that mean and coefficient of variation."""
    variance = math.log(1 + cv * cv)
    return draws.lognormvariate(math.log(mean) - variance / 2, math.sqrt(variance))


def conversations(draws: random.Random, rate: float, turns: int) -> Iterator[list[dict[str, object]]]:
    """Yield conversations, in order of their start: a row a turn."""
    start_s, block = 0.0, 0
    while True:
        start_s += draws.expovariate(rate / turns)
        now_s, context, blocks, rows = start_s, 0, list[int](), list[dict[str, object]]()
        for _ in range(turns):
            new = max(8, int(log_normal(draws, MEAN_IN / (1 if turns == 1 else turns / 2), CV_IN)))
            out = max(2, int(log_normal(draws, MEAN_OUT, CV_OUT)))
            tokens = min(context + new, MOST_TOKENS - out)
            count = max(1, math.ceil(tokens / BLOCK_TOKENS))
            blocks = blocks[: tokens // BLOCK_TOKENS]
            fresh = range(block, block + count - len(blocks))
            block += len(fresh)
            blocks = [*blocks, *fresh]
            rows.append(
                {
                    "timestamp": int(now_s * MS_PER_S),
                    "input_length": tokens,
                    "output_length": out,
                    "hash_ids": blocks,
                }
            )
            blocks = blocks[: tokens // BLOCK_TOKENS]  # the last one, partly filled, is another in the next turn
            context = tokens + out
            now_s += draws.expovariate(1 / THINK_S)
        yield rows


def write(path: Path, requests: int, rate: float, turns: int, seed: int) -> dict[str, float]:
    """Write that many requests in order of arrival, without keeping more than are open; return what they hold."""
    draws = random.Random(seed)
    open_rows: list[tuple[int, int, dict[str, object]]] = []
    written = tokens_in = tokens_out = number = 0
    with path.open("w", encoding="utf-8") as file:
        for rows in conversations(draws, rate, turns):
            start_ms = int(str(rows[0]["timestamp"]))
            open_rows.sort(key=lambda row: row[:2])
            while open_rows and open_rows[0][0] <= start_ms and written < requests:
                row = open_rows.pop(0)[2]
                file.write(json.dumps(row) + "\n")
                written += 1
                tokens_in += int(str(row["input_length"]))
                tokens_out += int(str(row["output_length"]))
            if written == requests:
                break
            for row in rows:
                number += 1
                open_rows.append((int(str(row["timestamp"])), number, row))
    return {"requests": written, "mean_in": tokens_in / written, "mean_out": tokens_out / written, "turns": turns}


def main() -> None:
    """Write one workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=Path("w1.jsonl"))
    parser.add_argument("-n", "--requests", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=8.0, help="requests a second [8]")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(write(options.out, options.requests, options.rate, options.turns, options.seed)))


if __name__ == "__main__":
    main()
