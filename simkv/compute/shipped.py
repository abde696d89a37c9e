"""The ready-made profiles that simkv ships: a folder a GPU, a file a model and tensor-parallel degree.

They were derived from published times of single operations by `simkv profile derive` (docs/profiles.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from simkv import model
from simkv.compute import calibration_file
from simkv.compute.calibration import SHAPE_FACTS, MeasuredProfile
from simkv.errors import InputError
from simkv.model import ModelShape

_AIC = "aiconfigurator-core 0.12.0 (NVIDIA, Apache-2.0)"
_SIM = "LLMServingSim (casys-kaist, MIT)"

#: Name -> the GPU, and whose measured times its files were derived from.
SHIPPED: Mapping[str, tuple[str, str]] = {
    "a100-sxm": ("NVIDIA A100 SXM 80 GB", _AIC),
    "b200-sxm": ("NVIDIA B200 SXM", _AIC),
    "h100-sxm": ("NVIDIA H100 SXM 80 GB", _AIC),
    "h200-sxm": ("NVIDIA H200 SXM", _AIC),
    "l40s": ("NVIDIA L40S", _AIC),
    "rtx-4090": ("NVIDIA GeForce RTX 4090", _SIM),
    "rtx-pro-6000": ("NVIDIA RTX PRO 6000 Blackwell", f"{_SIM}; other models: {_AIC}"),
}

FOLDER = Path(str(resources.files("simkv.profiles")))


def file_name(model_name: str, tp: int) -> str:
    """Return the name of the file of a model.

    Examples
    --------
    >>> file_name("Llama-3.1-8B", 2)
    'Llama-3.1-8B-tp2.json'
    """
    return f"{model_name}-tp{tp}.json"


def available(name: str) -> list[tuple[str, int]]:
    """Return the (model, tp) that a GPU has files of, sorted.

    Examples
    --------
    >>> available("rtx-4090")
    [('Llama-3.1-8B', 1)]
    """
    found = [path.stem.rpartition("-tp") for path in (FOLDER / name).glob("*-tp*.json")]
    return sorted((model_name, int(tp)) for model_name, _, tp in found if tp.isdigit())


def find(name: str, shape: ModelShape, tp: int = 1) -> Path:
    """Return the file of a model on a GPU: any whose model has the same shape.

    Raises
    ------
    InputError : there is none; the message lists those that there are.

    Examples
    --------
    >>> find("h100-sxm", model.get("Llama-3-8B")).name
    'Llama-3.1-8B-tp1.json'
    """
    there = available(name)
    for model_name, degree in there:
        if degree == tp and _same_shape(model_name, shape):
            return FOLDER / name / file_name(model_name, tp)
    listed: dict[str, list[str]] = {}
    for model_name, degree in there:
        listed.setdefault(model_name, []).append(str(degree))
    known = "; ".join(f"{model_name} (tp {', '.join(degrees)})" for model_name, degrees in listed.items())
    raise InputError(f"GPU profile {name!r} has no times of {shape.name} at tp {tp}; it has: {known or 'none'}")


def _same_shape(model_name: str, shape: ModelShape) -> bool:
    built_in = model.BUILT_IN.get(model_name)
    return built_in is not None and all(getattr(built_in, fact) == getattr(shape, fact) for fact in SHAPE_FACTS)


def read(path: Path) -> MeasuredProfile:
    """Return a ready-made profile; a file that says that it is not derived is none.

    Raises
    ------
    InputError : see `calibration_file.read`.

    Examples
    --------
    >>> read(FOLDER / "l40s" / "Qwen3-8B-tp1.json").device
    'NVIDIA L40S'
    """
    profile = calibration_file.read(path)
    name, _, tp = path.stem.rpartition("-tp")
    found = (profile.kind, profile.model_name.rpartition("/")[2], str(profile.tp))
    if found != ("derived", name, tp):
        said = "{} times of {}, tp {}".format(*found)
        raise InputError(f"want derived times of {name}, tp {tp}, as its name says; got {said}", str(path))
    profile.check()
    return profile
