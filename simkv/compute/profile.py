"""What is known of a device: named profiles that price its steps.

A profile turns a model's shape into a `StepTime`. Those that are shipped are either computed from data sheets and a
stated efficiency, and say so in their name (`analytic-`), or derived from published times of single operations, and say
so in their label; `measured` reads a calibration file.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, field, make_dataclass
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast, get_type_hints

from simkv.compute import calibration_file, shipped
from simkv.compute.calibration import MeasuredProfile
from simkv.compute.steptime import FixedStepTime, RooflineStepTime, StepTime
from simkv.errors import InputError
from simkv.model import ModelShape
from simkv.registry import Registry, unknown

#: What a profile file says of itself.
SCHEMA, SCHEMA_VERSION = "simkv.profile.analytic", 1

_JSON_NAMES = {str: "a string", int: "a whole number", float: "a number", dict: "an object"}


class Profile(Protocol):
    """One method to write; `label` is what tables print beside results that rest on it."""

    label: ClassVar[str]

    def step_time(self, shape: ModelShape) -> StepTime:
        """Return the price list of this device for one model."""


PROFILES: Registry[Profile] = Registry("GPU profile", "simkv.profile")


@PROFILES.register("fixed")
@dataclass(frozen=True)
class Fixed:
    """A fixed time per prefill token and per decode step, whatever the model: hand-computed schedules.

    Attributes
    ----------
    prefill_per_token_s : [s]
    decode_step_s : [s]

    Source: none; for theory and for the three-turn story of seed document 0.
    """

    label: ClassVar[str] = "fixed times"

    prefill_per_token_s: float = 0.0
    decode_step_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("prefill_per_token_s", "decode_step_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: want a finite time, not negative, got {getattr(self, name)}")

    def step_time(self, shape: ModelShape) -> StepTime:
        """Return the fixed price list."""
        return FixedStepTime(self.prefill_per_token_s, self.decode_step_s)


@PROFILES.register("analytic")
@dataclass(frozen=True)
class Analytic:
    """A roofline: peak arithmetic and memory rates, each times the share of it that is reached.

    Attributes
    ----------
    peak_flop_per_s : [flop/s] dense 16-bit peak of the data sheet.
    peak_memory_bytes_per_s : [bytes/s] of the data sheet.
    flop_efficiency : share of the arithmetic peak reached in prefill.
    memory_efficiency : share of the memory peak reached in decode.
    overhead_s : [s] per step.
    weight_bits : [bits] a weight takes in memory.

    Source: Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009.
    """

    label: ClassVar[str] = "analytic"

    peak_flop_per_s: float
    peak_memory_bytes_per_s: float
    flop_efficiency: float = 0.5
    memory_efficiency: float = 0.7
    overhead_s: float = 0.0
    weight_bits: int = 16

    def __post_init__(self) -> None:
        for name in ("peak_flop_per_s", "peak_memory_bytes_per_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: want a finite rate above 0, got {getattr(self, name)}")
        for name in ("flop_efficiency", "memory_efficiency"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name}: want a share above 0 and up to 1, got {getattr(self, name)}")
        if not 0 <= self.overhead_s < math.inf:
            raise ValueError(f"overhead_s: want a finite time, not negative, got {self.overhead_s}")
        if self.weight_bits not in (4, 8, 16):
            raise ValueError(f"weight_bits: want 4, 8 or 16, got {self.weight_bits}")

    def step_time(self, shape: ModelShape) -> StepTime:
        """Return the roofline of this device for one model."""
        return RooflineStepTime(
            shape,
            self.peak_flop_per_s * self.flop_efficiency,
            self.peak_memory_bytes_per_s * self.memory_efficiency,
            self.overhead_s,
            self.weight_bits,
        )


@PROFILES.register("measured")
@dataclass(frozen=True)
class Measured:
    """Measured times of one model's operations, layers or passes on one device, from a calibration file.

    Attributes
    ----------
    path : NAME.json that `simkv calibrate` or `simkv profile import` wrote, its NAME.csv.gz beside it.
    tp : GPUs of the tensor-parallel group; must be that of the file.
    link_bandwidth_bytes_per_s : [bytes/s] of the link between them; wanted when tp > 1.
    link_latency_s : [s] of one hop over it; wanted when tp > 1.
    strict : refuse what lies outside the measured range instead of extending it.

    Source: what the file says of itself.
    """

    label: ClassVar[str] = "measured"

    path: Path
    tp: int = 1
    link_bandwidth_bytes_per_s: float | None = None
    link_latency_s: float | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        _check_link(self.link_bandwidth_bytes_per_s, self.link_latency_s)
        profile = read_calibration(self.path)
        if self.tp != profile.tp:
            raise ValueError(f"tp: want {profile.tp}, of which {self.path} holds the times, got {self.tp}")

    def step_time(self, shape: ModelShape) -> StepTime:
        """Return the measured price list."""
        profile = read_calibration(self.path)
        return profile.step_time(shape, self.link_bandwidth_bytes_per_s, self.link_latency_s, self.strict)


def _check_link(bandwidth_bytes_per_s: float | None, latency_s: float | None) -> None:
    if bandwidth_bytes_per_s is not None and not 0 < bandwidth_bytes_per_s < math.inf:
        raise ValueError(f"link_bandwidth_bytes_per_s: want a finite rate above 0, got {bandwidth_bytes_per_s}")
    if latency_s is not None and not 0 <= latency_s < math.inf:
        raise ValueError(f"link_latency_s: want a finite time, not negative, got {latency_s}")


@dataclass(frozen=True)
class Derived:
    """Times put together from published times of single operations: a file a model, by the scenario's model.

    Attributes
    ----------
    tp : GPUs of the tensor-parallel group; their all-reduces are NCCL's inside one node, unless a link is stated.
    link_bandwidth_bytes_per_s : [bytes/s] of the link between them.
    link_latency_s : [s] of one hop over it; wanted with the bandwidth.
    strict : refuse what lies outside the measured range instead of extending it.

    Source: what the file says of itself.
    """

    label: ClassVar[str] = "derived"
    gpu: ClassVar[str]

    tp: int = 1
    link_bandwidth_bytes_per_s: float | None = None
    link_latency_s: float | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        _check_link(self.link_bandwidth_bytes_per_s, self.link_latency_s)
        degrees = sorted({tp for _, tp in shipped.available(self.gpu)})
        if self.tp not in degrees:
            raise ValueError(f"tp: want {' or '.join(map(str, degrees))}, got {self.tp}")

    def step_time(self, shape: ModelShape) -> StepTime:
        """Return the derived price list.

        Raises
        ------
        InputError : no file of this model, or a damaged one.
        """
        profile = read_calibration(shipped.find(self.gpu, shape, self.tp))
        return profile.step_time(shape, self.link_bandwidth_bytes_per_s, self.link_latency_s, self.strict)


def read_calibration(path: Path) -> MeasuredProfile:
    """Return what a calibration file holds; one that has not changed is read once in a process.

    Raises
    ------
    InputError : see `calibration_file.read`; or an operation without times.

    Examples
    --------
    >>> read_calibration(Path("absent.json"))
    Traceback (most recent call last):
    simkv.errors.InputError: absent.json: no such file
    """
    try:
        told = path.stat()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError("no such file" if isinstance(error, FileNotFoundError) else reason, str(path)) from None
    return _read_once(path, told.st_mtime_ns, told.st_size)


@lru_cache(maxsize=8)
def _read_once(path: Path, mtime_ns: int, size: int) -> MeasuredProfile:
    if path.is_relative_to(shipped.FOLDER):
        return shipped.read(path)
    profile = calibration_file.read(path)
    profile.check()
    return profile


def read_profile(path: Traversable) -> dict[str, Any]:
    """Return what a profile file says: its name, doc, parameters and the source of each.

    Parameters
    ----------
    path : a JSON file as those in `simkv/profiles`.

    Raises
    ------
    InputError : not JSON, a key or a parameter missing, unknown or of the wrong type, a value that the profile
        refuses, or a parameter without a source.

    Examples
    --------
    >>> from pathlib import Path
    >>> read_profile(Path("absent.json"))
    Traceback (most recent call last):
    simkv.errors.InputError: absent.json: no such file
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("no such file", str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", str(path)) from None
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg}", f"{path}:{error.lineno}:{error.colno}") from None
    except RecursionError:
        raise InputError("not JSON: nested too deeply", str(path)) from None
    try:
        return _checked(told, path.name.removesuffix(".json"))
    except (InputError, ValueError) as error:
        raise InputError(str(error), str(path)) from None


def read_folder(folder: Traversable) -> dict[str, type[Analytic]]:
    """Return the profiles of a folder by name: classes whose parameters default to what the files say.

    Raises
    ------
    InputError : see `read_profile`.

    Examples
    --------
    >>> read_folder(resources.files("simkv.profiles"))["analytic-l40s"]().weight_bits
    16
    """
    files = sorted((path for path in folder.iterdir() if path.name.endswith(".json")), key=lambda path: path.name)
    return {told["name"]: _ready_made(told) for told in map(read_profile, files)}


_KEYS: dict[str, type] = {
    "schema": str,
    "schema_version": int,
    "name": str,
    "doc": str,
    "parameters": dict,
    "sources": dict,
}


def _checked(told: object, stem: str) -> dict[str, Any]:
    """Return what a file said, its numbers of the types that `Analytic` wants."""
    if not isinstance(told, dict):
        raise InputError(f"want an object with the keys {', '.join(_KEYS)}")
    _same_keys(told, _KEYS, _KEYS, "key")
    for key, wanted in _KEYS.items():
        if type(told[key]) is not wanted:
            raise InputError(f"{key}: want {_JSON_NAMES[wanted]}, got {json.dumps(told[key])}")
    if (told["schema"], told["schema_version"]) != (SCHEMA, SCHEMA_VERSION):
        found = f"{told['schema']!r} version {told['schema_version']}"
        raise InputError(f"want schema {SCHEMA!r} version {SCHEMA_VERSION}, got {found}")
    if told["name"] != stem or not stem.startswith("analytic-"):
        raise InputError(f"name: want the name of the file, and that to begin with 'analytic-', got {told['name']!r}")
    fields = {f.name: f for f in dataclasses.fields(Analytic)}
    required = [name for name, f in fields.items() if f.default is MISSING]
    _same_keys(told["parameters"], fields, required, "parameter")
    _same_keys(told["sources"], told["parameters"], told["parameters"], "source")
    parameters: dict[str, Any] = {name: _number(name, value) for name, value in told["parameters"].items()}
    for name, text in {"doc": told["doc"], **told["sources"]}.items():
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{name}: want a sentence that says where it comes from, got {json.dumps(text)}")
    Analytic(**parameters)  # it refuses values that no device has
    return told | {"parameters": parameters}


def _same_keys(found: Iterable[str], known: Iterable[str], required: Iterable[str], what: str) -> None:
    known, found = list(known), list(found)
    for key in found:
        if key not in known:
            raise unknown(what, key, known)
    for key in required:
        if key not in found:
            raise InputError(f"{what} {key!r} is missing")


def _number(name: str, value: object) -> int | float:
    wanted = get_type_hints(Analytic)[name]
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise InputError(f"{name}: want {_JSON_NAMES[wanted]}, got {json.dumps(value)}")
    return cast("int | float", value)


def _ready_made(told: dict[str, Any]) -> type[Analytic]:
    hints = get_type_hints(Analytic)
    fields = [(name, hints[name], field(default=value)) for name, value in told["parameters"].items()]
    namespace = {"__doc__": told["doc"], "__module__": __name__}
    class_name = told["name"].replace("-", "_")
    return cast(
        "type[Analytic]", make_dataclass(class_name, fields, bases=(Analytic,), frozen=True, namespace=namespace)
    )


def _derived(name: str, device: str, source: str) -> type[Derived]:
    doc = f"{device}: derived from measured times of single operations, a file a model.\n\nSource: {source}."
    namespace = {"__doc__": doc, "__module__": __name__, "gpu": name, "__annotations__": {"gpu": ClassVar[str]}}
    return dataclass(frozen=True)(type(name.replace("-", "_"), (Derived,), namespace))


for _name, _profile in read_folder(resources.files("simkv.profiles")).items():
    PROFILES.register(_name)(_profile)
for _name, (_device, _source) in shipped.SHIPPED.items():
    PROFILES.register(_name)(_derived(_name, _device, _source))
