"""How do measured times that others publish become a profile: importers, and the files that simkv keeps them in."""

from __future__ import annotations

from pathlib import Path

from simkv.compute import calibration_file
from simkv.compute.calibration import MeasuredProfile
from simkv.errors import InputError
from simkv.profiling import llmservingsim

__all__ = ["MeasuredProfile", "open_profile"]


def open_profile(path: Path, tp: int = 1) -> MeasuredProfile:
    """Return the measured times that a file or a folder holds.

    Parameters
    ----------
    path : NAME.json that `simkv profile import` wrote, or a folder of LLMServingSim's tables.
    tp : GPUs of the tensor-parallel group.

    Raises
    ------
    InputError : neither of the two, whatever their readers refuse, or times of another tp.

    Examples
    --------
    >>> open_profile(Path("absent.json"))
    Traceback (most recent call last):
    simkv.errors.InputError: absent.json: no such file
    """
    if path.is_dir():
        return llmservingsim.read(path, tp)
    if path.suffix != ".json":
        raise InputError(f"want a profile (.json) or a folder of tables, got {path.suffix or 'no suffix'}", str(path))
    profile = calibration_file.read(path)
    if profile.tp != tp:
        raise InputError(f"times of tp {profile.tp}; want tp {tp}", str(path))
    profile.check()
    return profile
