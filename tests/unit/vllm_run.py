"""A small recorded run of vLLM, as `simkv validate vllm` reads it: two requests of a model whose times are toys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ENGINE: dict[str, Any] = {
    "model": "Qwen/Qwen2.5-3B",
    "max_num_seqs": 8,
    "max_num_batched_tokens": 512,
    "tensor_parallel_size": 1,
}
META = {"model": "Qwen/Qwen2.5-3B", "engine_kwargs": ENGINE, "kv_cache": {"num_gpu_blocks": 400, "block_size": 16}}
INSTANCE = {"hardware": "Toy", "npu_mem": {"mem_size": 24, "mem_util": 0.9}}
NODE = {"link_bw": 16, "link_latency": 1000, "nodes": [{"instances": [INSTANCE]}]}
REQUEST = {
    **{"id": 0, "arrival_s": 0.0, "input_tokens": 40, "output_tokens": 3},
    **{"queued_s": 0.5, "scheduled_s": 0.5, "first_token_s": 0.75, "last_token_s": 1.25, "block_ids": [7, 8]},
}
SECOND = REQUEST | {"id": 1, "queued_s": 0.625, "scheduled_s": 0.75, "first_token_s": 1.0, "block_ids": [7, 9]}
SERIES = "t,prompt_throughput,running\n1.0,40.0,2\n2.0,0.0,0\n"


def vllm_run(folder: Path) -> Path:
    """Write the run into a new folder."""
    folder.mkdir()
    (folder / "meta.json").write_text(json.dumps(META, indent=1))
    (folder / "node_config.json").write_text(json.dumps(NODE))
    (folder / "requests.jsonl").write_text("".join(json.dumps(each) + "\n" for each in (REQUEST, SECOND)))
    (folder / "timeseries.csv").write_text(SERIES)
    return folder
