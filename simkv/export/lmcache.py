"""An arm as LMCache's YAML: chunk size, tier, eviction, and the least hit that is worth fetching.

Names and defaults are those of LMCache 0.5.6 (`lmcache/v1/config.py`). Its `min_retrieve_tokens` is compared with the
tokens that its store has and the engine lacks, as `fetch-long` compares. With a file it ignores its environment.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from simkv.export.chosen import comment, header_lines
from simkv.export.deployment import Deployment, deployments, not_exported, refuse, without_counterpart
from simkv.export.target import Choice
from simkv.report.reading import SavedRun, SavedSweep
from simkv.units import parse_bytes

#: simkv's eviction policies that LMCache has, and its names for them.
EVICTION = {"lru": "LRU", "lfu": "LFU", "fifo": "FIFO"}
_GIB_BYTES = parse_bytes("1 GiB")  # what its sizes count: `int(cpu_size * 1024**3)`
_DEFAULT_STAGING_GIB = 5.0  # its default of `max_local_cpu_size`


def make(saved: SavedRun | SavedSweep, choice: Choice) -> dict[str, bytes]:
    """Return a file for each kind of server that serves."""
    found = deployments(saved, choice.arm, "LMCache")
    return {f"lmcache-{each.server}.yaml": text(each).encode() for each in found}


def text(deployment: Deployment) -> str:
    """Return the configuration of one server, or refuse what has no counterpart."""
    refuse(deployment, "LMCache", list(_without(deployment)))
    lines = [
        *header_lines(deployment.saved, deployment.arm, f"LMCache for server {deployment.server!r}"),
        *_notes(deployment),
        "# As simulated:",
        *_lines(_simulated(deployment)),
        "# Not simulated: LMCache's defaults, and what goes with the above:",
        *_lines(_defaults(deployment)),
    ]
    return "\n".join(lines) + "\n"


def _without(deployment: Deployment) -> Iterator[str]:
    yield from without_counterpart(deployment)
    eviction, holder = deployment.scenario.policies.eviction, deployment.holder
    if deployment.min_tokens is None:
        yield "policies.acquisition: text; nothing is fetched"
    if holder is None:
        yield f"servers.{deployment.server}: it has no source, so no KV lies outside its GPU"
    elif holder.shared and eviction.name != "lru":
        yield f"policies.eviction: {eviction.name}; {holder.name!r} is shared, and evicts by its own rule"
    elif eviction.name not in EVICTION:
        yield f"policies.eviction: {eviction.name}; want {', '.join(EVICTION)}"


def _simulated(deployment: Deployment) -> dict[str, object]:
    """Return what the arm says."""
    holder = deployment.holder
    assert holder is not None
    told: dict[str, object] = {
        "chunk_size": deployment.block_tokens,
        "min_retrieve_tokens": deployment.min_tokens,
        "save_decode_cache": False,  # an answer is stored when the next prompt brings it
        "local_cpu": not holder.shared,
    }
    if holder.shared:
        told |= {"remote_url": f"lm://{holder.name}:65432", "remote_serde": "naive"}
    else:
        told |= {
            "max_local_cpu_size": holder.size_bytes / _GIB_BYTES,
            "cache_policy": EVICTION[deployment.scenario.policies.eviction.name],
        }
    if deployment.blend_ratio:
        told |= {"enable_blending": True, "blend_recompute_ratios": [deployment.blend_ratio]}
    return told


def _notes(deployment: Deployment) -> Iterator[str]:
    """Yield the comments on what is set elsewhere."""
    holder = deployment.holder
    assert holder is not None
    told = [f"Set elsewhere: {each}." for each in not_exported(deployment)]
    if holder.shared:
        told.append(
            f"{holder.name!r} is shared, so it stands here as a remote store: put its address into remote_url, and give"
            f" the store its {holder.size_bytes / _GIB_BYTES:g} GiB and LRU eviction there."
        )
    else:
        told.append(f"{holder.name!r} serves this server alone, so it stands here as the memory of its host.")
    if deployment.blend_ratio:
        told.append(
            "Blending wants the chunks of a prompt parted by blend_special_str, and an engine without a cache of"
            " prefixes of its own."
        )
    told.append("The engine evicts from the memory of its GPUs by a rule of its own (vLLM: LRU).")
    for each in told:
        yield from comment(each)


def _defaults(deployment: Deployment) -> dict[str, object]:
    """Return what LMCache wants told and nobody simulated."""
    staging: dict[str, object] = {"max_local_cpu_size": _DEFAULT_STAGING_GIB}
    told = staging if deployment.holder is not None and deployment.holder.shared else {}
    if deployment.blend_ratio:  # it works only so; the layer is that of LMCache's example_blending.yaml
        told |= {"use_layerwise": True, "blend_check_layers": [1], "blend_special_str": " # # "}
    return told | {"local_disk": None}


def _lines(told: dict[str, object]) -> list[str]:
    return yaml.safe_dump(told, sort_keys=False, default_flow_style=False).splitlines()
