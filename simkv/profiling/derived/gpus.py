"""Which GPUs are there ready-made profiles of, and where do their times come from?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from simkv.registry import unknown


class Gpu(NamedTuple):
    """One GPU of the tables.

    Attributes
    ----------
    name : as scenarios name it.
    device : as results name it.
    system : aiconfigurator's name of it; "" = it has no tables of it.
    elementwise : whose elementwise times stand for its own, scaled by memory bandwidth.
    bundles : model -> LLMServingSim's folder of measured times of it, taken in place of derived ones.
    caution : what a reader of its derived times should know; "" = nothing beyond what holds for all.
    """

    name: str
    device: str
    system: str
    elementwise: str
    bundles: Mapping[str, str] = {}
    caution: str = ""


_CAUTION = (
    "attention of decodes over less than some 150 MB of KV was timed with the KV in the L2 cache: up to 61 % too low"
)
_PRO_6000 = {"Llama-3.1-8B": "rtxpro6000_llama-3.1-8b", "Qwen3-32B": "rtxpro6000_qwen3-32b"}

#: By name. A100, H100 and A40 have elementwise times of their own; the others take those of the nearest generation.
GPUS: Mapping[str, Gpu] = {
    gpu.name: gpu
    for gpu in (
        Gpu("a100-sxm", "NVIDIA A100 SXM 80 GB", "a100_sxm", "a100"),
        Gpu("b200-sxm", "NVIDIA B200 SXM", "b200_sxm", "h100"),
        Gpu("h100-sxm", "NVIDIA H100 SXM 80 GB", "h100_sxm", "h100"),
        Gpu("h200-sxm", "NVIDIA H200 SXM", "h200_sxm", "h100"),
        Gpu("l40s", "NVIDIA L40S", "l40s", "a40"),
        Gpu("rtx-4090", "NVIDIA GeForce RTX 4090", "", "a40", {"Llama-3.1-8B": "rtx4090_llama-3.1-8b"}),
        Gpu("rtx-pro-6000", "NVIDIA RTX PRO 6000 Blackwell", "rtx_pro_6000_server", "a40", _PRO_6000, _CAUTION),
    )
}

#: Built-in models with a file a GPU, and the sizes of the groups. Experts have no tables here, and are left out.
MODELS: Mapping[str, tuple[int, ...]] = {
    "Qwen2.5-0.5B": (1,),
    "Qwen2.5-3B": (1,),
    "Qwen2.5-7B": (1, 2),
    "Qwen2.5-32B": (1, 2, 4),
    "Qwen3-8B": (1, 2),
    "Qwen3-32B": (1, 2, 4, 8),
    "Llama-3.1-8B": (1, 2, 4, 8),
    "Llama-3.1-70B": (1, 2, 4, 8),
    "Mistral-7B": (1,),
}


def get(name: str) -> Gpu:
    """Return a GPU by the name that scenarios give it, or by aiconfigurator's.

    Raises
    ------
    InputError : no such GPU.

    Examples
    --------
    >>> get("h100_sxm").device
    'NVIDIA H100 SXM 80 GB'
    """
    gpu = GPUS.get(name.replace("_", "-")) or next((gpu for gpu in GPUS.values() if gpu.system == name), None)
    if gpu is None:
        raise unknown("GPU", name, GPUS)
    return gpu
