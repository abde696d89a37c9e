"""What a folder with a recorded vLLM run says: the engine's arguments, the requests, and what was measured.

The form is that of `requests.jsonl`, `meta.json`, and optionally `timeseries.csv` and `node_config.json`. What the
run used and simkv has no model of is refused by name.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from simkv import model
from simkv.errors import InputError
from simkv.model import ModelShape
from simkv.replay import Engine
from simkv.units import parse_bytes
from simkv.workload.asked import Asked
from simkv.workload.readers import fields
from simkv.workload.readers.lines import numbered_lines
from simkv.workload.readers.mooncake import runs_of

_GIB_BYTES = parse_bytes("1 GiB")
_NS_PER_S = 1e9  # latencies of node_config.json
_GB_BYTES = parse_bytes("1 GB")
_NULL_BLOCKS = 1  # the first block of vLLM's pool is a placeholder that nobody gets (its BlockPool.null_block)
_TIMES = ("queued_s", "scheduled_s", "first_token_s", "last_token_s")
_OPTIONAL = ("id", "arrival_s", "block_ids", "priority")

#: Engine arguments whose other values have no model here, and the values that have; None = not given.
_SUPPORTED: Mapping[str, tuple[object, ...]] = {
    "data_parallel_size": (None, 1),
    "pipeline_parallel_size": (None, 1),
    "enable_expert_parallel": (None, False),
    "kv_cache_dtype": (None, "auto", "bfloat16", "float16"),
    "dtype": (None, "auto", "bfloat16", "float16"),
    "quantization": (None,),
    "speculative_config": (None,),
    "kv_transfer_config": (None,),
    "enable_chunked_prefill": (None, True),
    "scheduling_policy": (None, "fcfs", "priority"),
}


class Measured(NamedTuple):
    """[s] When the run's engine got a request, scheduled it, and emitted its first and last token."""

    queued_s: float
    scheduled_s: float
    first_token_s: float
    last_token_s: float


class Link(NamedTuple):
    """What connects the GPUs of a tensor-parallel group.

    Attributes
    ----------
    bandwidth_bytes_per_s : [bytes/s] one direction.
    latency_s : [s] of one message.
    """

    bandwidth_bytes_per_s: float
    latency_s: float


@dataclass(frozen=True)
class VllmRun:
    """A recorded run.

    Attributes
    ----------
    path : its folder.
    shape : of the model.
    gpus : of the tensor-parallel group.
    device : name of the GPU; "" = unknown.
    engine : with the blocks that a request may use.
    blocks_told : how many blocks vLLM counted, and from where that is known.
    link : None = not stated.
    asked, measured : the requests in the order in which the engine got them.
    running : (time [s], sequences in the batch) once a second; empty = not recorded.
    """

    path: Path
    shape: ModelShape
    gpus: int
    device: str
    engine: Engine
    scheduling_policy: str
    blocks_told: str
    link: Link | None
    asked: list[Asked]
    measured: list[Measured]
    running: list[tuple[float, int]]


def read(path: Path, blocks: int | None = None) -> VllmRun:
    """Read a folder.

    Parameters
    ----------
    blocks : as vLLM counts them; None = as the run recorded, or else from the memory that is left by the weights.

    Raises
    ------
    InputError : a file is absent or damaged, or the run used what simkv has no model of.

    Examples
    --------
    >>> read(Path("absent"))
    Traceback (most recent call last):
    simkv.errors.InputError: absent/meta.json: no such file
    """
    path = Path(path)
    meta = _json(path / "meta.json")
    node = _json(path / "node_config.json") if (path / "node_config.json").exists() else {}
    try:
        told = _told(path, meta, node, blocks)
    except (ValueError, InputError) as error:
        raise InputError(str(error), str(path / "meta.json")) from None
    size = told.engine.block_tokens
    rows = sorted(_requests(path / "requests.jsonl", size), key=lambda row: row[1].queued_s)
    told.asked.extend(asked for asked, _ in rows)
    told.measured.extend(measured for _, measured in rows)
    told.running.extend(_running(path / "timeseries.csv"))
    return told


def _told(path: Path, meta: Mapping[str, Any], node: Mapping[str, Any], blocks: int | None) -> VllmRun:
    """Return what is true of a run before its first request."""
    arguments = _mapping(meta, "engine_kwargs")
    _check_supported(arguments)
    shape, instance = model.get(_text(meta, "model")), _instance(node)
    gpus = _count(arguments, "tensor_parallel_size", 1)
    cache = meta.get("kv_cache") or {}
    found, told = (blocks, "given") if blocks is not None else _blocks(meta, instance, shape, gpus)
    if found <= _NULL_BLOCKS:
        raise ValueError(f"want more than {_NULL_BLOCKS} KV block, got {found} ({told})")
    engine = Engine(
        blocks=found - _NULL_BLOCKS,
        block_tokens=_count(cache, "block_size", 16),
        token_budget=_count(arguments, "max_num_batched_tokens", 2048),
        max_sequences=_count(arguments, "max_num_seqs", 256),
        async_scheduling=arguments.get("async_scheduling", True) is not False,
        caches_prefixes=cache.get("enable_prefix_caching", True) is not False,
    )
    device = (meta.get("hardware") or {}).get("device_name") or instance.get("hardware") or ""
    policy = arguments.get("scheduling_policy") or "fcfs"
    return VllmRun(path, shape, gpus, str(device), engine, policy, told, _link(node), [], [], [])


def _check_supported(arguments: Mapping[str, Any]) -> None:
    for name, known in _SUPPORTED.items():
        if arguments.get(name) not in known:
            wanted = " or ".join(repr(value) for value in known if value is not None) or "none"
            raise ValueError(f"engine_kwargs.{name}: {arguments[name]!r} has no model in simkv; want {wanted}")


def _blocks(meta: Mapping[str, Any], instance: Mapping[str, Any], shape: ModelShape, gpus: int) -> tuple[int, str]:
    """Return how many blocks the pool has as vLLM counts, and in words how that is known."""
    cache = meta.get("kv_cache") or {}
    if cache.get("num_gpu_blocks"):
        return _count(cache, "num_gpu_blocks", 1), "recorded by the run"
    memory = instance.get("npu_mem") or {}
    if not memory.get("mem_size") or not memory.get("mem_util"):
        raise ValueError(
            "neither the number of KV blocks (kv_cache.num_gpu_blocks) nor memory and mem_util (node_config.json) are"
            " recorded; want --num-gpu-blocks"
        )
    block_bytes = _count(cache, "block_size", 16) * shape.kv_bytes_per_token
    left_bytes = gpus * memory["mem_size"] * _GIB_BYTES * memory["mem_util"] - shape.weight_bytes()
    told = (
        f"floor(({gpus} x {memory['mem_size']} GiB x {memory['mem_util']} - {shape.weight_bytes():,} bytes of weights)"
        f" / {block_bytes:,} bytes a block)"
    )
    return int(left_bytes // block_bytes), told


def _requests(path: Path, block_tokens: int) -> Iterator[tuple[Asked, Measured]]:
    with closing(numbered_lines(path)) as lines:
        number = 0
        for number, line in lines:
            try:
                yield _request(fields.parse_object(line), block_tokens)
            except ValueError as error:
                raise InputError(str(error), f"{path}:{number}") from None
    if not number:
        raise InputError("the file is empty", str(path))


def _request(record: dict[str, Any], block_tokens: int) -> tuple[Asked, Measured]:
    fields.check_keys(record, ("input_tokens", "output_tokens", *_TIMES), _OPTIONAL)
    tokens = fields.whole(record["input_tokens"], "input_tokens", 1)
    measured = Measured(*(fields.seconds(record[name], name) for name in _TIMES))
    if list(measured) != sorted(measured):
        raise ValueError(f"want {' <= '.join(_TIMES)}, got {', '.join(f'{value:g}' for value in measured)}")
    ids = fields.items(record.get("block_ids", []), "block_ids", "block ids")
    if ids and len(ids) != tokens // block_tokens:
        full = tokens // block_tokens
        raise ValueError(f"block_ids: {tokens} tokens are {full} full blocks of {block_tokens}, got {len(ids)} ids")
    asked = Asked(
        arrival_s=measured.queued_s,
        input_tokens=tokens,
        output_tokens=fields.whole(record["output_tokens"], "output_tokens", 1),
        runs=fields.distinct(runs_of(ids), "block_ids"),
        priority=int(record.get("priority", 0)),
    )
    return asked, measured


def _running(path: Path) -> list[tuple[float, int]]:
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [(float(row["t"]), int(row["running"])) for row in csv.DictReader(file)]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"want the columns t and running with numbers, got {error}", str(path)) from None


def _link(node: Mapping[str, Any]) -> Link | None:
    bandwidth, latency = node.get("link_bw"), node.get("link_latency")
    if not bandwidth or latency is None:
        return None
    return Link(float(bandwidth) * _GB_BYTES, float(latency) / _NS_PER_S)


def _instance(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the one serving instance that node_config.json describes; {} = none."""
    instances = [instance for each in node.get("nodes", []) for instance in each.get("instances", [])]
    return instances[0] if len(instances) == 1 else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        return fields.parse_object(path.read_bytes().replace(b"\n", b" "))
    except FileNotFoundError:
        raise InputError("no such file", str(path)) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", str(path)) from None
    except ValueError as error:
        raise InputError(str(error), str(path)) from None


def _mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    if not isinstance(record.get(key), dict):
        raise ValueError(f"{key}: want an object, got {json.dumps(record.get(key))}")
    return record[key]  # type: ignore[no-any-return]


def _text(record: Mapping[str, Any], key: str) -> str:
    if not isinstance(record.get(key), str):
        raise ValueError(f"{key}: want text, got {json.dumps(record.get(key))}")
    return str(record[key])


def _count(record: Mapping[str, Any], key: str, default: int) -> int:
    value = record.get(key)
    if value is None:
        return default
    if type(value) is not int or value < 1:
        raise ValueError(f"{key}: want a whole number of at least 1, got {json.dumps(value)}")
    return value
