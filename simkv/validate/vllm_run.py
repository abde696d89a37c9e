"""What a folder with a recorded vLLM run says: the engine's arguments, the requests, and what was measured.

The form is that of `requests.jsonl`, `meta.json`, and optionally `timeseries.csv` and `node_config.json`. What the
run used and simkv has no model of is refused by name.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from simkv import model
from simkv.errors import InputError
from simkv.model import ModelShape
from simkv.registry import did_you_mean
from simkv.replay import Engine
from simkv.units import parse_bytes
from simkv.workload.asked import Asked
from simkv.workload.readers import fields
from simkv.workload.readers.lines import numbered_lines
from simkv.workload.readers.replayed import Measured, replayed

_GIB_BYTES = parse_bytes("1 GiB")
_NS_PER_S = 1e9  # latencies of node_config.json
_GB_BYTES = parse_bytes("1 GB")
_NULL_BLOCKS = 1  # the first block of vLLM's pool is a placeholder that nobody gets (its BlockPool.null_block)
_SERIES = ("t", "running")
_MAX_BLOCK_TOKENS = 65_536  # more than any engine's; the scheduler keeps a number for each

#: Engine arguments whose other values have no model here, and the values that have; None = not given.
_SUPPORTED: Mapping[str, tuple[object, ...]] = {
    "pipeline_parallel_size": (None, 1),
    "kv_cache_dtype": (None, "auto", "bfloat16", "float16"),
    "dtype": (None, "auto", "bfloat16", "float16"),
    "quantization": (None,),
    "speculative_config": (None,),
    "kv_transfer_config": (None,),
    "enable_chunked_prefill": (None, True),
    "scheduling_policy": (None, "fcfs", "priority"),
}


#: Engine arguments that are read here, and those that change no step.
_READ = (
    *("tensor_parallel_size", "max_num_seqs", "max_num_batched_tokens", "async_scheduling", "block_size"),
    *("enable_prefix_caching", "data_parallel_size", "enable_expert_parallel"),
)
_WITHOUT_EFFECT = (
    *("model", "tokenizer", "served_model_name", "revision", "seed", "max_model_len", "gpu_memory_utilization"),
    *("load_format", "download_dir", "trust_remote_code", "generation_config", "skip_tokenizer_init"),
    *("disable_log_stats", "enforce_eager"),
)


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
    path, shape : its folder; of the model.
    gpus : of the tensor-parallel group.
    ranks : data-parallel copies of it. Those of a mixture of experts share the experts and step together, as one engine
        of their summed limits; others are engines of their own.
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
    ranks: int
    device: str
    engine: Engine
    scheduling_policy: str
    blocks_told: str
    link: Link | None
    asked: list[Asked]
    measured: list[Measured]
    running: list[tuple[float, int]]

    @property
    def num_gpu_blocks(self) -> int:
        """Blocks of one rank as vLLM counts them."""
        return self.engine.blocks // (self.ranks if self.shape.experts else 1) + _NULL_BLOCKS


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
    node = _node(path / "node_config.json") if (path / "node_config.json").exists() else _Node()
    try:
        told = _told(path, meta, node, blocks)
    except (ValueError, InputError) as error:
        raise InputError(str(error), str(path / "meta.json")) from None
    size = told.engine.block_tokens
    rows = sorted(_requests(path / "requests.jsonl", size), key=lambda row: row[1].queued_s)
    told.asked.extend(asked for asked, _ in rows)
    told.measured.extend(measured for _, measured in rows)
    if (path / "timeseries.csv").exists():
        told.running.extend(_running(path / "timeseries.csv"))
    return told


# -- meta.json and node_config.json ------------------------------------------------------------------------------


class _Node(NamedTuple):
    """What node_config.json says: of one GPU its memory [GiB], the share of it that is used, and its name."""

    link: Link | None = None
    memory_gib: float | None = None
    used_ratio: float | None = None
    hardware: str = ""


def _told(path: Path, meta: Mapping[str, Any], node: _Node, blocks: int | None) -> VllmRun:
    """Return what is true of a run before its first request."""
    arguments = _mapping(meta, "engine_kwargs")
    _check_supported(arguments)
    shape = model.get(_text(meta, "model"))
    gpus, ranks = _count(arguments, "tensor_parallel_size", 1), _ranks(arguments, shape)
    cache, hardware = (_mapping(meta, key) if meta.get(key) is not None else {} for key in ("kv_cache", "hardware"))
    size = _count(cache, "block_size", _count(arguments, "block_size", 16))
    if size > _MAX_BLOCK_TOKENS:
        raise ValueError(f"block_size: want at most {_MAX_BLOCK_TOKENS}, got {size}")
    found, told = (blocks, "given") if blocks is not None else _blocks(cache, size, node, shape, (gpus, ranks))
    if found <= _NULL_BLOCKS:
        raise ValueError(f"want more than {_NULL_BLOCKS} KV block, got {found} ({told})")
    together = ranks if shape.experts else 1
    engine = Engine(
        blocks=together * (found - _NULL_BLOCKS),
        block_tokens=size,
        token_budget=together * _count(arguments, "max_num_batched_tokens", 2048),
        max_sequences=together * _count(arguments, "max_num_seqs", 256),
        async_scheduling=_switch(arguments, "async_scheduling", True),
        caches_prefixes=_switch(cache, "enable_prefix_caching", _switch(arguments, "enable_prefix_caching", True)),
    )
    device = _text(hardware, "device_name") if hardware.get("device_name") else node.hardware
    policy = arguments.get("scheduling_policy") or "fcfs"
    return VllmRun(path, shape, gpus, ranks, device, engine, policy, told, node.link, [], [], [])


def _ranks(arguments: Mapping[str, Any], shape: ModelShape) -> int:
    """Return the data-parallel ranks, and refuse experts that are spread in another way."""
    ranks, gpus = _count(arguments, "data_parallel_size", 1), _count(arguments, "tensor_parallel_size", 1)
    spreads = _switch(arguments, "enable_expert_parallel", False)
    if shape.experts and spreads and gpus > 1:
        raise ValueError(
            "engine_kwargs.enable_expert_parallel: experts over a tensor-parallel group have no model in"
            " simkv; want tensor_parallel_size 1 or no expert parallelism"
        )
    if shape.experts and ranks > 1 and not spreads:
        raise ValueError(
            "engine_kwargs.data_parallel_size: a mixture of experts whose ranks cut each expert has no"
            " model in simkv; want enable_expert_parallel true, or 1 rank"
        )
    return ranks


def _check_supported(arguments: Mapping[str, Any]) -> None:
    for name, value in arguments.items():
        if name in _SUPPORTED:
            known = _SUPPORTED[name]
            if value not in known:
                wanted = " or ".join(repr(value) for value in known if value is not None) or "none"
                raise ValueError(f"engine_kwargs.{name}: {fields.shown(value)} has no model in simkv; want {wanted}")
        elif value not in (None, False) and name not in _READ and name not in _WITHOUT_EFFECT:
            hint = did_you_mean(name, [*_SUPPORTED, *_READ, *_WITHOUT_EFFECT])
            raise ValueError(
                f"engine_kwargs.{fields.shown_text(name)[1:-1]}: simkv does not know what it does to a step{hint};"
                " want it left out if it does nothing"
            )


def _blocks(
    cache: Mapping[str, Any], size: int, node: _Node, shape: ModelShape, group: tuple[int, int]
) -> tuple[int, str]:
    """Return how many blocks the pool of a rank has as vLLM counts, and in words how that is known."""
    if cache.get("num_gpu_blocks") is not None:
        return _count(cache, "num_gpu_blocks", 1), "recorded by the run"
    if node.memory_gib is None or node.used_ratio is None:
        raise ValueError(
            "neither the number of KV blocks (kv_cache.num_gpu_blocks) nor memory and mem_util (node_config.json) are"
            " recorded; want --num-gpu-blocks"
        )
    gpus, ranks = group
    block_bytes = size * shape.kv_bytes_per_token
    elsewhere = shape.expert_weight_bytes() * shape.experts * (ranks - 1) // ranks  # experts that other ranks hold
    weight_bytes = shape.weight_bytes() - elsewhere
    left_bytes = gpus * node.memory_gib * _GIB_BYTES * node.used_ratio - weight_bytes
    told = (
        f"floor(({gpus} x {node.memory_gib:g} GiB x {node.used_ratio:g} - {weight_bytes:,} bytes of weights)"
        f" / {block_bytes:,} bytes a block)"
    )
    return int(left_bytes // block_bytes), told


def _node(path: Path) -> _Node:
    node = _json(path)
    try:
        bandwidth, latency = _amount(node, "link_bw", fields.MAX_COUNT), _amount(node, "link_latency", fields.MAX_COUNT)
        has_link = bandwidth and latency is not None
        link = Link(bandwidth * _GB_BYTES, latency / _NS_PER_S) if has_link else None  # type: ignore[operator]
        instances = [
            fields.mapping(instance, "nodes[].instances[]")
            for each in fields.items(node.get("nodes", []), "nodes", "nodes")
            for instance in fields.items(fields.mapping(each, "nodes[]").get("instances", []), "instances", "instances")
        ]
        if not instances or any(instance != instances[0] for instance in instances):
            return _Node(link)  # not the engine that was recorded, or its ranks
        memory = fields.mapping(instances[0].get("npu_mem", {}), "npu_mem")
        hardware = _text(instances[0], "hardware") if instances[0].get("hardware") else ""
        return _Node(link, _amount(memory, "mem_size", fields.MAX_COUNT), _amount(memory, "mem_util", 1), hardware)
    except ValueError as error:
        raise InputError(str(error), str(path)) from None


def _json(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise InputError("no such file", str(path)) from None
    except OSError as error:
        raise InputError(f"cannot be read: {(error.strerror or str(error)).lower()}", str(path)) from None
    if not raw.strip():
        raise InputError("the file is empty; want a JSON object", str(path))
    try:
        return fields.parse_object(raw)
    except ValueError as error:
        raise InputError(str(error).replace(" of the line", " of the file"), f"{path}{_line(raw)}") from None


def _line(raw: bytes) -> str:
    """Return ":n" for the line in which JSON breaks off; "" where it is none's fault."""
    try:
        json.loads(raw.decode())
    except json.JSONDecodeError as error:
        return f":{error.lineno}"
    except (ValueError, RecursionError):
        pass
    return ""


def _mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    if not isinstance(record.get(key), dict):
        raise ValueError(f"{key}: want an object, got {fields.shown(record.get(key))}")
    return record[key]  # type: ignore[no-any-return]


def _text(record: Mapping[str, Any], key: str) -> str:
    return fields.name(record.get(key), key)


def _count(record: Mapping[str, Any], key: str, default: int) -> int:
    return default if record.get(key) is None else fields.whole(record[key], key, 1)


def _switch(record: Mapping[str, Any], key: str, default: bool) -> bool:
    value = record.get(key)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"{key}: want true or false, got {fields.shown(value)}")
    return default if value is None else value


def _amount(record: Mapping[str, Any], key: str, most: float) -> float | None:
    value = record.get(key)
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value <= most:
        raise ValueError(f"{key}: want a number from 0 to {most:g}, got {fields.shown(value)}")
    return float(value)


# -- requests.jsonl and timeseries.csv ---------------------------------------------------------------------------


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
    row = replayed(record, block_tokens)
    arrival_s = row.measured.queued_s
    return Asked(arrival_s, row.input_tokens, row.output_tokens, row.blocks, row.priority), row.measured


def _running(path: Path) -> Iterator[tuple[float, int]]:
    """Yield the sequences in the batch over time."""
    with closing(numbered_lines(path)) as lines:
        head, last_s = None, 0.0
        for number, line in lines:
            try:
                cells = next(csv.reader([line.decode()], strict=True), [])
                if head is None:
                    head = cells
                    if absent := [name for name in _SERIES if head.count(name) != 1]:
                        raise ValueError(f"want the column {absent[0]} once, got the columns {fields.shown(head)}")
                    continue
                at_s, running = _sample(cells, head)
            except (ValueError, csv.Error) as error:
                is_text = not isinstance(error, UnicodeDecodeError)
                raise InputError(str(error) if is_text else "not UTF-8 text", f"{path}:{number}") from None
            if at_s < last_s:
                raise InputError(f"t: must not decrease, got {at_s:g} after {last_s:g}", f"{path}:{number}")
            last_s = at_s
            yield at_s, running


def _sample(cells: list[str], head: list[str]) -> tuple[float, int]:
    if len(cells) != len(head):
        raise ValueError(f"want {len(head)} columns, got {len(cells)}")
    at, running = (cells[head.index(name)] for name in _SERIES)
    try:
        at_s = float(at)
    except ValueError:
        at_s = math.nan
    if not 0 <= at_s <= fields.MAX_COUNT:
        raise ValueError(f"t: want seconds, a number of at least 0, got {fields.shown(at)}")
    if not running.isascii() or not running.isdigit() or len(running) > 12:
        raise ValueError(f"running: want a whole number of at least 0, got {fields.shown(running)}")
    return at_s, int(running)
