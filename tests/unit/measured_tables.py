"""Small tables to price steps with, files of them, and a naive second pricing to compare with."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simkv.compute.op_table import OpTable
from simkv.model import ModelShape

SHAPE = ModelShape("toy", layers=3, hidden=8, heads=4, kv_heads=1, head_dim=2, intermediate=16, vocab=64)
MOE = ModelShape(
    *("toy-moe", 3, 8, 4, 1, 2, 16, 64), qk_norm=True, experts=16, experts_per_token=2, expert_intermediate=4
)
TOKENS, SEQUENCES = (1, 2, 8, 64, 512, 2048), (1, 4, 64)
CHUNKS, CACHED, DECODES, KV = (0, 16, 128, 2048), (0, 64, 4096), (0, 1, 2, 16, 64), (16, 256, 1024, 8192)


def attention_points() -> list[tuple[int, int, int, int]]:
    """Return a grid whose decode-only corner reaches further than the rest."""
    found = [(0, 0, n, kv) for n in DECODES[1:] for kv in KV]
    found += [(c, k, 0, 0) for c in CHUNKS[1:] for k in CACHED]
    found += [(c, k, n, kv) for c in CHUNKS[1:] for k in CACHED for n in DECODES[1:4] for kv in KV[:: 1 + (k == 64)]]
    return found


def ops(seed: int = 1, experts: bool = False, skewed: bool = False) -> list[OpTable]:
    """Return tables of all operations: plausible times [s] that grow, with noise."""
    rng = random.Random(seed)

    def noisy(time_s: float) -> float:
        return float(f"{time_s * rng.uniform(0.9, 1.1):.9g}")

    mlp = () if experts else ("gate_up_proj", "act_fn", "down_proj")
    names = ["qkv_proj", "rotary_emb", "o_proj", "layernorm", *mlp, "embedding", "final_layernorm"]
    names += ["qk_norm"] if experts else []
    found = [OpTable(name, [(t, noisy(1e-5 + 1e-7 * t)) for t in TOKENS]) for name in names]
    found += [OpTable(name, [(n, noisy(2e-5 + 1e-6 * n)) for n in SEQUENCES]) for name in ("lm_head", "sampler")]
    rows = [
        (c, k, n, kv, noisy(1e-5 + 1e-8 * c + 1e-11 * c * (k + c) + 1e-9 * n * kv))
        for c, k, n, kv in attention_points()
    ]
    found.append(OpTable("attention", rows))
    if experts:
        woken = {1: (2,), 2: (2, 4), 8: (2, 4, 16), 64: (2, 4, 16), 2048: (2, 4, 16)}
        found.append(
            OpTable("moe", [(t, e, noisy(1e-5 + 4e-6 * e + 1e-8 * t)) for t, places in woken.items() for e in places])
        )
    if skewed:
        points = [
            (c, 0, n, 1, short, longest, (longest + (n - 1) * short) // n)
            for c in CHUNKS
            for n in (2, 16, 64)
            for short in (400, 900)
            for longest in (1000, 2000, 4000)
        ]
        found.append(OpTable("attention_equal", [(*point, noisy(1e-4)) for point in points]))
        found.append(OpTable("attention_unequal", [(*point, noisy(1.2e-4)) for point in points]))
    return found


class Naive:
    """Prices by dictionaries and NumPy, written apart from the price list that it judges."""

    def __init__(self, tables: Sequence[OpTable], shape: ModelShape, summing_s: float = 0.0) -> None:
        self.tables = {op.name: op for op in tables}
        self.shape, self.summing_s = shape, summing_s
        self.slices: dict[tuple[float, float], dict[float, dict[float, float]]] = {}
        for chunk, cached, decodes, kv, time_s in self.tables["attention"].rows:
            self.slices.setdefault((chunk, decodes), {}).setdefault(cached, {})[kv] = time_s

    def line(self, name: str, x: float) -> float:
        """Return one operation's time [s]."""
        return self.over({row[0]: row[1] for row in self.tables[name].rows}, x)

    @staticmethod
    def over(points: dict[float, float], x: float) -> float:
        """Return a value between points, or on the line through the last two."""
        places = sorted(points)
        if len(places) == 1:
            return points[places[0]]
        if places[0] <= x <= places[-1]:
            return float(np.interp(x, places, [points[place] for place in places]))
        near, far = (places[0], places[1]) if x < places[0] else (places[-1], places[-2])
        return points[near] + (points[near] - points[far]) / (near - far) * (x - near)

    def attention(self, chunk: float, cached: float, decodes: float, kv: float) -> float:
        """Return the time [s] of one layer."""
        by_chunk = {}
        for of in {of for of, _ in self.slices}:
            if of or decodes:
                by_count = {
                    n: self.over(
                        {k: self.over(column, kv) for k, column in self.slices[of, n].items()}, cached if of else 0
                    )
                    for o, n in self.slices
                    if o == of
                }
                by_chunk[of] = self.over(by_count, decodes)
        return by_chunk[0] if not chunk else self.over(by_chunk, chunk)

    def skew(self, chunk: float, decodes: int, rho: float) -> float:
        """Return how much longer unequal contexts take, as a share."""
        equal = {row[:-1]: row[-1] for row in self.tables["attention_equal"].rows}
        bins: dict[tuple[float, float], dict[float, list[float]]] = {}
        for *at, unequal_s in self.tables["attention_unequal"].rows:
            c, k, n, _, _, longest, mean = at
            if 400 <= mean <= 4096 and k <= 2048:
                middle = round(mean / longest * 20) / 20
                bins.setdefault((c, n), {}).setdefault(middle, []).append(unequal_s / equal[tuple(at)] - 1)
        chunks = sorted({c for c, _ in bins if c or not chunk})
        near = min(chunks, key=lambda c: abs(c - chunk))
        counts = sorted(n for c, n in bins if c == near)
        values = []
        for n in counts:
            medians = {m: float(np.median(shares)) for m, shares in bins[near, n].items()} | {1.0: 0.0}
            values.append(float(np.interp(rho, sorted(medians), [medians[m] for m in sorted(medians)])))
        return float(np.interp(np.log2(max(decodes, 2)), np.log2(counts), values))

    def step(self, chunks: Sequence[tuple[int, int]], contexts: Sequence[int], emitting: int) -> float:
        """Return the time [s] of a step, contexts told one by one."""
        tokens = sum(new for new, _ in chunks) + len(contexts)
        per_layer = ["qkv_proj", "rotary_emb", "o_proj", "layernorm", "layernorm"]
        per_layer += ["gate_up_proj", "act_fn", "down_proj"] if "moe" not in self.tables else []
        per_layer += ["qk_norm"] if "qk_norm" in self.tables else []
        layer_s = sum(self.line(name, tokens) for name in per_layer) + self.summing_s * tokens
        if "moe" in self.tables:
            woken = self.shape.activated_experts(tokens)
            by_row: dict[float, dict[float, float]] = {}
            for row, place, time_s in self.tables["moe"].rows:
                by_row.setdefault(row, {})[place] = time_s
            layer_s += self.over({row: self.over(places, woken) for row, places in by_row.items()}, tokens)
        layer_s += self.of_attention(chunks, contexts)
        heads_s = sum(self.line(name, emitting) for name in ("lm_head", "sampler")) if emitting else 0.0
        return (
            self.shape.layers * layer_s
            + self.line("embedding", tokens)
            + self.line("final_layernorm", tokens)
            + heads_s
        )

    def of_attention(self, chunks: Sequence[tuple[int, int]], contexts: Sequence[int]) -> float:
        """Return the attention [s] of one layer of a step."""
        decodes, total = len(contexts), sum(new for new, _ in chunks)
        kv = sum(context + 1 for context in contexts) / decodes if decodes else 0
        if not chunks:
            attention_s = self.attention(0, 0, decodes, kv)
        else:
            mean = sum(new * cached for new, cached in chunks) / total
            attention_s = sum(self.attention(new, cached, 0, 0) for new, cached in chunks)
            if decodes:
                attention_s += self.attention(total, mean, decodes, kv) - self.attention(total, mean, 0, 0)
        if "attention_equal" in self.tables and decodes > 1:
            attention_s *= 1 + self.skew(total, decodes, kv / (max(contexts) + 1))
        return attention_s


def batches(
    seed: int, count: int, most_kv: int, most_new: int = 600
) -> list[tuple[list[tuple[int, int]], list[int], int]]:
    """Return random batches: chunks, contexts of the decodes, how many emit."""
    rng, found = random.Random(seed), []
    for _ in range(count):
        chunks = [
            (rng.randint(16, most_new), rng.choice([0, rng.randint(1, 4_000)]))
            for _ in range(rng.choice([0, 0, 1, 2, 3]))
        ]
        decodes = rng.choice([0, 1, 2, 3, rng.randint(1, 16)]) if chunks else rng.randint(1, 64)
        contexts = [rng.randint(15, most_kv) for _ in range(decodes)]
        found.append((chunks, contexts, decodes + rng.randint(0, len(chunks))))
    return found


# -- as others publish them ----------------------------------------------------------------------------------------

META = {
    "profiler_version": "1.0.0",
    "vllm_version": "0.19.0",
    "gpu": "NVIDIA Toy",
    "model": "toys/none-known",
    "measurement_iterations": 3,
    "engine_effective": {"enforce_eager": True},
    "skew_fit": {"enabled": True},
}


def tables(folder: Path, form: str = "tp{tp}_{name}.csv.gz", tp: int = 1, **meta: object) -> Path:
    """Write the toy's tables as LLMServingSim has them, in microseconds."""
    by_name: dict[str, list[str]] = {"dense": ["layer,tokens,time_us"], "per_sequence": ["layer,sequences,time_us"]}
    by_name["attention"] = ["prefill_chunk,kv_prefill,n_decode,kv_decode,time_us"]
    by_name["skew"] = ["regime,n,nb,ratio,skew,pc,kp,kvs,kv_big,kv_mean,t_mean_us,t_max_us,t_skew_us,alpha"]
    made = {op.name: op for op in ops(skewed=True)}
    for op in made.values():
        if len(op.axes) == 1:
            table = "dense" if op.axes == ("tokens",) else "per_sequence"
            by_name[table] += [f"{op.name},{row[0]},{1e6 * row[1]:.6g}" for row in op.rows]
    by_name["attention"] += [",".join(map(str, (*row[:-1], f"{1e6 * row[-1]:.6g}"))) for row in made["attention"].rows]
    pairs = zip(made["attention_equal"].rows, made["attention_unequal"].rows, strict=True)
    for (c, k, n, big, short, longest, mean, equal_s), unequal in pairs:
        times = f"{1e6 * equal_s:.6g},0,{1e6 * unequal[-1]:.6g}"
        by_name["skew"].append(f"pure,{n},{big},0.5,4.0,{c},{k},{short},{longest},{mean},{times},0.1")
    folder.mkdir(exist_ok=True)
    (folder / "meta.yaml").write_text(json.dumps(META | meta))
    for name, lines in by_name.items():
        path = folder / form.format(tp=tp, name=name)
        path.parent.mkdir(exist_ok=True)
        raw = ("\n".join(lines) + "\n").encode()
        path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return folder


ARRAYS: dict[str, Any] = {
    "prefill_isl": [16.0, 1_000.0],
    "prefill_ttft_ms": [7.0, 50.0],
    "decode_active_kv_tokens": [64.0, 1_000.0, 90_000.0],
    "decode_context_length": [64, 9_000],
    "decode_itl": [[6.0, 7.0], [7.0, 8.0], [20.0, 22.5]],
}


def npz(path: Path, **changed: Any) -> Path:
    """Write a timing profile; None removes an array."""
    arrays = {name: np.array(values) for name, values in (ARRAYS | changed).items() if values is not None}
    np.savez(path, **arrays)
    return path
