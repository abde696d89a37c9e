"""An arm as the command line of a vLLM server: blocks, batch, scheduling, and LMCache where KV is fetched.

Flags are those of vLLM 0.19 and later (`vllm/engine/arg_utils.py`, `vllm/config/cache.py`).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

from simkv.export import lmcache
from simkv.export.chosen import comment, header_lines, wanted
from simkv.export.deployment import (
    Deployment,
    deployments,
    not_exported,
    prefixes_alone,
    refuse,
    without_counterpart,
)
from simkv.export.target import Choice
from simkv.report.reading import SavedRun, SavedSweep

#: simkv's batching policies that vLLM has, and its names for them.
SCHEDULING = {"chunked-fcfs": "fcfs", "priority": "priority"}
_BLOCK_STEP_TOKENS = 16  # the attention kernels want blocks of a multiple of it (FlashAttention backend)
_NULL_BLOCKS = 1  # the first block of its pool is a placeholder that nobody gets (BlockPool.null_block)


def make(saved: SavedRun | SavedSweep, choice: Choice) -> dict[str, bytes]:
    """Return a script for each kind of server that serves, and LMCache's file where it fetches KV."""
    files: dict[str, bytes] = {}
    for each in deployments(saved, choice.arm, "vLLM"):
        files[f"vllm-{each.server}.sh"] = text(each).encode()
        if _fetches(each):
            files[f"lmcache-{each.server}.yaml"] = lmcache.text(each).encode()
    return files


def text(deployment: Deployment) -> str:
    """Return the script of one server, or refuse what has no counterpart."""
    refuse(deployment, "vLLM", list(_without(deployment)))
    model = deployment.scenario.model
    lines = [
        "#!/bin/sh",
        *header_lines(deployment.saved, deployment.arm, f"vLLM for server {deployment.server!r}"),
        *(line for each in not_exported(deployment) for line in comment(f"Set elsewhere: {each}.")),
        *comment(
            "As simulated: all flags below. Anything else is vLLM's default and was not simulated, such as"
            " --gpu-memory-utilization, which the number of blocks overrides. See that they fit the GPU."
        ),
        wanted("MODEL", f"set it to the weights of {model}"),
    ]
    if _fetches(deployment):
        lines.append(f'export LMCACHE_CONFIG_FILE="$(dirname "$0")"/{shlex.quote(f"lmcache-{deployment.server}.yaml")}')
    words = ["exec vllm serve", '"$MODEL"', *(shlex.join(flag) for flag in _flags(deployment))]
    return "\n".join([*lines, " \\\n  ".join(words)]) + "\n"


def _fetches(deployment: Deployment) -> bool:
    return deployment.holder is not None and deployment.min_tokens is not None


def _without(deployment: Deployment) -> Iterator[str]:
    yield from without_counterpart(deployment)
    yield from prefixes_alone(deployment)
    policies, engine = deployment.scenario.policies, deployment.scenario.servers[deployment.server].engine
    if policies.eviction.name != "lru":
        yield f"policies.eviction: {policies.eviction.name}; in the memory of its GPUs vLLM evicts LRU"
    if policies.batching.name not in SCHEDULING:
        yield f"policies.batching: {policies.batching.name}; want {', '.join(SCHEDULING)}"
    if engine.preset != "vllm-0.19":
        yield f"servers.{deployment.server}.engine.preset: {engine.preset}; vLLM lets answers grow block by block"
    if deployment.block_tokens % _BLOCK_STEP_TOKENS:
        yield f"the trace's blocks of {deployment.block_tokens} tokens; want a multiple of {_BLOCK_STEP_TOKENS}"


def _flags(deployment: Deployment) -> list[list[str]]:
    engine = deployment.scenario.servers[deployment.server].engine
    flags = [
        ["--block-size", str(deployment.block_tokens)],
        ["--num-gpu-blocks-override", str(deployment.memory_blocks + _NULL_BLOCKS)],
        ["--enable-prefix-caching"],
        ["--max-num-batched-tokens", str(engine.token_budget)],
        ["--max-num-seqs", str(engine.max_sequences)],
        ["--scheduling-policy", SCHEDULING[deployment.scenario.policies.batching.name]],
        ["--async-scheduling" if engine.async_scheduling else "--no-async-scheduling"],
    ]
    if deployment.gpus > 1:
        flags.append(["--tensor-parallel-size", str(deployment.gpus)])
    if _fetches(deployment):
        config = {"kv_connector": "LMCacheConnectorV1", "kv_role": "kv_both"}
        flags.append(["--kv-transfer-config", json.dumps(config)])
    return flags
