"""An arm as the command line of an SGLang server with HiCache: page size, storage, and when a fetch is worth it.

Flags and defaults are those of SGLang 0.5.23 (`srt/arg_groups/fields/memory.py`, `srt/mem_cache`). The source stands
for its storage (L3); host memory only stages what comes, for no tier lies between in a simulation. It fetches where the
storage holds at least `prefetch_threshold` tokens that are lacking, as `fetch-long` does, and never less than a page.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

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
from simkv.units import parse_bytes

#: simkv's eviction policies that its radix tree has under the same name and meaning.
EVICTION = ("lru", "lfu")
_KI_TOKENS = parse_bytes("1 KiB")  # its "ki token" is 1,024 of them


def make(saved: SavedRun | SavedSweep, choice: Choice) -> dict[str, bytes]:
    """Return a script for each kind of server that serves."""
    found = deployments(saved, choice.arm, "HiCache")
    return {f"hicache-{each.server}.sh": text(each).encode() for each in found}


def text(deployment: Deployment) -> str:
    """Return the script of one server, or refuse what has no counterpart."""
    refuse(deployment, "HiCache", list(_without(deployment)))
    model, engine = deployment.scenario.model, deployment.scenario.servers[deployment.server].engine
    lines = [
        "#!/bin/sh",
        *header_lines(deployment.saved, deployment.arm, f"SGLang with HiCache for server {deployment.server!r}"),
        *(line for each in not_exported(deployment) for line in comment(f"Set elsewhere: {each}.")),
        *comment(
            "As simulated: all flags below but the storage backend, for which set BACKEND and its own options. A"
            " request waits until all that it fetches is here. The timeouts follow from the link: its round trip, and"
            " how long 1,024 tokens of KV take on it alone; only --hicache-storage-prefetch-policy timeout heeds them."
        ),
        *comment(
            "Left at SGLang's defaults: how much host memory stages, which was not simulated, and how it batches, which"
            f" was simulated by other rules ({engine.preset}, {engine.token_budget} tokens a step)."
        ),
        wanted("MODEL", f"set it to the weights of {model}"),
        wanted("BACKEND", "set it to a storage backend, such as mooncake, hf3fs, nixl or file"),
    ]
    words = [
        "exec python -m sglang.launch_server",
        '--model-path "$MODEL"',
        '--hicache-storage-backend "$BACKEND"',
        *(shlex.join(flag) for flag in _flags(deployment)),
    ]
    return "\n".join([*lines, " \\\n  ".join(words)]) + "\n"


def _without(deployment: Deployment) -> Iterator[str]:
    yield from without_counterpart(deployment)
    yield from prefixes_alone(deployment)
    eviction = deployment.scenario.policies.eviction
    if deployment.min_tokens is None:
        yield "policies.acquisition: text; nothing is fetched"
    if deployment.holder is None:
        yield f"servers.{deployment.server}: it has no source, so no KV lies outside its GPU"
    if eviction.name not in EVICTION:
        yield f"policies.eviction: {eviction.name}; want {' or '.join(EVICTION)}"


def _flags(deployment: Deployment) -> list[list[str]]:
    assert deployment.holder is not None
    extra = {
        "prefetch_threshold": deployment.min_tokens,
        "prefetch_timeout_base": deployment.holder.round_trip_s,
        "prefetch_timeout_per_ki_token": deployment.wire_s(_KI_TOKENS),
    }
    flags = [
        ["--page-size", str(deployment.block_tokens)],
        ["--max-total-tokens", str(deployment.memory_blocks * deployment.block_tokens)],
        ["--radix-eviction-policy", deployment.scenario.policies.eviction.name],
        ["--enable-hierarchical-cache"],
        ["--hicache-host-memory-mode", "buffer_only"],
        ["--hicache-write-policy", "write_through"],
        ["--hicache-storage-prefetch-policy", "wait_complete"],
        ["--hicache-storage-backend-extra-config", json.dumps(extra)],
    ]
    if deployment.gpus > 1:
        flags.append(["--tp-size", str(deployment.gpus)])
    return flags
