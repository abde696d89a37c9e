"""Which ready-made profiles are there, and how are all of them written?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from simkv import model
from simkv.compute.shipped import file_name
from simkv.errors import InputError
from simkv.profiling.derived.bundles import TPS
from simkv.profiling.derived.compose import derive
from simkv.profiling.derived.gpus import GPUS, MODELS, Gpu, get
from simkv.profiling.writing import write

_NARROW_HEADS = ("a100-sxm",)  # whose tables hold heads of 128 alone


def cases(gpu: Gpu) -> Iterator[tuple[str, int]]:
    """Yield the (model, tp) of a GPU that are shipped.

    Examples
    --------
    >>> list(cases(get("rtx-4090")))
    [('Llama-3.1-8B', 1)]
    """
    for name, degrees in MODELS.items():
        for tp in degrees:
            measured = tp in TPS.get(gpu.bundles.get(name, ""), ())
            reached = model.get(name).head_dim == 128 or gpu.name not in _NARROW_HEADS
            if measured or (gpu.system and reached):
                yield name, tp


def write_all(source: str, folder: Path, only: str | None = None) -> Iterator[Path]:
    """Write the ready-made profiles, and yield their names.

    Parameters
    ----------
    source : see `compose.derive`; from the wheel alone, those of LLMServingSim's bundles are left out.
    folder : gets a folder a GPU.
    only : one GPU; None = all.
    """
    for gpu in GPUS.values() if only is None else (get(only),):
        for name, tp in cases(gpu):
            path = folder / gpu.name / file_name(name, tp)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                profile = derive(gpu.name, name, source, tp)
            except InputError:
                if source == "aic" and name in gpu.bundles:
                    continue
                raise
            write(profile, path)
            yield path
