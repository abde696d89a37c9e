"""The .npz timing profile of NVIDIA Dynamo: times of whole passes (github.com/ai-dynamo/dynamo, lib/mocker)."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simkv import model
from simkv.compute.calibration import SHAPE_FACTS, MeasuredProfile, Provenance, SourceFile
from simkv.compute.op_table import OpTable
from simkv.errors import InputError

_MILLI = 1e-3  # s in the unit of the times
_DIGITS = 9  # of a time in a profile file

#: Array -> its number of axes.
_ARRAYS = {
    "prefill_isl": 1,
    "prefill_ttft_ms": 1,
    "decode_active_kv_tokens": 1,
    "decode_context_length": 1,
    "decode_itl": 2,
}

Array = npt.NDArray[np.float64]


def read(
    path: Path, model_name: str, device: str = "not stated", origin: str = "not stated", source: str = "derived"
) -> MeasuredProfile:
    """Return the times of passes that a timing profile holds.

    Parameters
    ----------
    path : the .npz file.
    model_name : whose times they are; the file does not say.
    device : on which GPU.
    origin : who or what made them, with its version.
    source : how: silicon (measured), mixed, derived or analytic.

    Raises
    ------
    InputError : not such a file.

    Examples
    --------
    >>> read(Path("absent.npz"), "Llama-3.1-8B")
    Traceback (most recent call last):
    simkv.errors.InputError: absent.npz: no such file
    """
    shape = model.get(model_name)
    raw, arrays = _read_arrays(path)
    isl, ttft_ms = arrays["prefill_isl"], arrays["prefill_ttft_ms"]
    kv_tokens, context, itl_ms = (arrays[f"decode_{name}"] for name in ("active_kv_tokens", "context_length", "itl"))
    for wanted, array, name in (
        (isl.shape, ttft_ms, "prefill_ttft_ms"),
        ((*kv_tokens.shape, *context.shape), itl_ms, "decode_itl"),
    ):
        if array.shape != wanted:
            raise InputError(f"{name}: want the shape {wanted}, got {array.shape}", str(path))
    prefill = [(_place(tokens), _seconds(time)) for tokens, time in zip(isl.tolist(), ttft_ms.tolist(), strict=True)]
    decode = [
        (_place(total), _place(mean), _seconds(time))
        for total, row in zip(kv_tokens.tolist(), itl_ms.tolist(), strict=True)
        for mean, time in zip(context.tolist(), row, strict=True)
    ]
    profile = MeasuredProfile(
        where=str(path),
        model_name=model_name,
        shape_facts={fact: getattr(shape, fact) for fact in SHAPE_FACTS},
        device=device,
        tp=1,
        software={},
        clock={"kind": "not stated"},
        provenance=Provenance(
            project="Dynamo timing profile (.npz)",
            version=origin,
            licence="not stated",
            files=(SourceFile(path.name, hashlib.sha256(raw).hexdigest()),),
            imported_by=f"simkv {version('simkv')}",
        ),
        skewed=False,
        notes={"passes": "priced as Dynamo's mocker does: cached tokens are free, prefill and decode add up"},
        ops=(OpTable("prefill_pass", prefill, source), OpTable("decode_pass", decode, source)),
    )
    profile.check()
    return profile


def _read_arrays(path: Path) -> tuple[bytes, dict[str, Array]]:
    try:
        raw = path.read_bytes()
        with np.load(io.BytesIO(raw), allow_pickle=False) as file:
            names = list(file) if isinstance(file, np.lib.npyio.NpzFile) else []
            if sorted(names) != sorted(_ARRAYS):
                found = ", ".join(names) or "none"
                raise InputError(f"want the arrays {', '.join(_ARRAYS)}, got {found}", str(path))
            arrays = {name: file[name] for name in _ARRAYS}
    except FileNotFoundError:
        raise InputError("no such file", str(path)) from None
    except OSError as error:
        raise InputError(f"cannot be read: {(error.strerror or str(error)).lower()}", str(path)) from None
    except (ValueError, EOFError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"not a .npz file of numbers: {error}", str(path)) from None
    return raw, {name: _checked(name, array, path) for name, array in arrays.items()}


def _checked(name: str, array: npt.NDArray[Any], path: Path) -> Array:
    """Return an array of finite numbers: places that ascend, times above zero."""
    if array.ndim != _ARRAYS[name] or array.dtype.kind not in "fiu" or array.size < 2:
        found = f"{array.ndim} axes of {array.dtype} with {array.size} numbers"
        raise InputError(f"{name}: want {_ARRAYS[name]} axes of numbers, at least two of them, got {found}", str(path))
    numbers = array.astype(np.float64)
    is_time = name in ("prefill_ttft_ms", "decode_itl")
    if not np.isfinite(numbers).all() or (numbers < 0).any() or (is_time and (numbers == 0).any()):
        raise InputError(f"{name}: want finite numbers {'above' if is_time else 'from'} 0", str(path))
    if not is_time and (np.diff(numbers) <= 0).any():
        raise InputError(f"{name}: want places that ascend", str(path))
    return numbers


def _place(value: float) -> float:
    return int(value) if value.is_integer() else value


def _seconds(time_ms: float) -> float:
    return float(f"{time_ms * _MILLI:.{_DIGITS}g}")
