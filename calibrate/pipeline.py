"""A real pipeline beside its prediction: prefill, quantise, send over TCP, dequantise, prefill on that cache."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding, linear, rms_norm

from simkv.compute import calibration_file
from simkv.compute.calibration import MeasuredProfile
from simkv.compute.steptime import StepTime
from simkv.errors import InputError
from simkv.model import ModelShape, get

from .device import Device, open_device
from .kv_probes import dequantise, quantise
from .layer import Group, Layers
from .probes import Probes
from .rounds import Progress
from .waiting import burst, q20
from .wire import Peer

STAGES = ("prefill", "quantise", "send", "dequantise", "prefill on cache")
WANTED = 0.10  # median error
_NEEDED = ("prefill_layer", "embedding", "lm_head", "quantise_int8_token", "dequantise_int8_token", "tcp_send")
_SIZES = tuple(round(48 * (700 / 48) ** (step / 9)) for step in range(10))  # tokens; log-even, mostly off the grids
_ASKED = 4  # new tokens on the cache: a quarter of what is cached
_REPEATS = 3

Packed = list[tuple[Tensor, Tensor, Tensor]]


class Model:
    """All layers of a model, each with weights of its own, its embedding and its output matrix.

    Parameters
    ----------
    device : where.
    shape : of the model.
    dtype : of weights, activations and KV.
    seed : of the random numbers.
    """

    def __init__(self, device: Device, shape: ModelShape, dtype: torch.dtype, seed: int) -> None:
        self.device, self.shape = device, shape
        self._layers = Layers(device, shape, dtype, shape.layers, seed)
        self._table = self._layers.randn(shape.vocab, shape.hidden)
        self._norm = self._layers.randn(shape.hidden)

    def groups(self, new: int, cached: int) -> list[Group]:
        """Return room for the KV of every layer."""
        first = self._layers.chunk(new, cached)
        return [
            first._replace(keys=torch.zeros_like(first.keys), values=torch.zeros_like(first.keys))
            for _ in self._layers.weights
        ]

    def prefill(self, groups: Sequence[Group]) -> Tensor:
        """Return the token that follows."""
        width = self.shape.hidden
        ids = torch.arange(groups[0].new, device=self.device.torch_device) % self.shape.vocab
        hidden = embedding(ids, self._table)
        for group, weights in zip(groups, self._layers.weights, strict=True):
            hidden = self._layers.forward(hidden, (group,), weights)
        return linear(rms_norm(hidden[-1:], (width,), self._norm, 1e-6), self._table).argmax(-1)


def _kv(groups: Sequence[Group], tokens: int) -> list[Tensor]:
    return [torch.cat((group.keys[:, :, :tokens], group.values[:, :, :tokens])) for group in groups]


def _bytes(packed: Packed) -> bytearray:
    """Return what goes over the wire: codes, scales and least values of every layer."""
    whole = bytearray()
    for tensors in packed:
        for tensor in tensors:
            whole += tensor.contiguous().cpu().view(torch.uint8).numpy().tobytes()
    return whole


@dataclass(frozen=True)
class Setting:
    """What is tested on what.

    Attributes
    ----------
    path : the profile whose prices are tested.
    model : whose layers run; None = the one that the profile names.
    device, dtype : must be those that it was made with.
    seed : of the random numbers.
    """

    path: Path
    model: str | None
    device: str
    dtype: str
    seed: int


def run(told: Setting, progress: Progress | None = None) -> dict[str, Any]:
    """Return measured and predicted times [s] of every stage, at ten sizes.

    Raises
    ------
    InputError : a profile without one of the stages, or of another model or device.
    """
    path = told.path
    profile = calibration_file.read(path)
    absent = [name for name in _NEEDED if name not in profile.laws]
    if absent:
        raise InputError(f"no times of {', '.join(absent)}; want a calibration with all of them", str(path))
    shape, device = get(told.model or profile.model_name), open_device(told.device)
    if device.clock != profile.clock.get("kind"):
        found = f"its clock is {profile.clock.get('kind')}, not {device.clock} of --device {told.device}"
        raise InputError(found, str(path))
    prices = profile.step_time(shape)
    kind = getattr(torch, told.dtype)
    probes, model = Probes(device, shape, kind, told.seed), Model(device, shape, kind, told.seed)
    rows: list[dict[str, Any]] = []
    sent: dict[int, list[float]] = {tokens: [] for tokens in _SIZES}
    began = time.perf_counter()
    with Peer() as peer, torch.inference_mode():
        for index, tokens in enumerate(_SIZES):
            for size in _SIZES:  # a visit to each payload, as in the rounds of a calibration
                sent[size].append(burst(_sending(peer, _payload_bytes(shape, size)), peer.core).value_s)
            speed = _speed(profile, probes)
            predicted = _predicted(profile, prices, shape, tokens)
            for stage, measured_s in _measured(model, peer, tokens):
                rows.append(_row(stage, tokens, measured_s, predicted[stage], speed))
            if progress is not None:
                progress(index + 1, len(_SIZES), f"{tokens} tokens, {time.perf_counter() - began:.0f} s")
    for tokens, values in sent.items():
        rows.append(_row("send", tokens, q20(values), _predicted(profile, prices, shape, tokens)["send"], 1.0))
    return {"schema_version": 1, "profile": str(path), "rows": rows, "summary": _summary(rows)}


def _speed(profile: MeasuredProfile, probes: Probes) -> float:
    """Return how slow the machine is now against the anchors of the profile."""
    assert profile.quality is not None
    then = {anchor["name"]: anchor["t_s"] for anchor in profile.quality["anchors"]}
    return float(median(probes.anchor(name).value_s / then[name] for name in probes.anchors if name in then))


def _asked(tokens: int) -> int:
    return max(1, tokens // _ASKED)


def _predicted(profile: MeasuredProfile, prices: StepTime, shape: ModelShape, tokens: int) -> Mapping[str, float]:
    """Return what simkv says of each stage [s]."""
    laws = profile.laws
    return {
        "prefill": prices.step([(tokens, 0)], 0, 0, 1),
        "quantise": shape.layers * laws["quantise_int8_token"].at((tokens,), []),
        "send": laws["tcp_send"].at((_payload_bytes(shape, tokens),), []),
        "dequantise": shape.layers * laws["dequantise_int8_token"].at((tokens,), []),
        "prefill on cache": prices.step([(_asked(tokens), tokens)], 0, 0, 1),
    }


def _payload_bytes(shape: ModelShape, tokens: int) -> int:
    """Return what INT8 KV takes on the wire: codes, and a scale and a least value for each token of each head."""
    elements = shape.kv_bytes(tokens) // shape.dtype_bytes
    return elements + 2 * shape.kv_bytes(tokens) // shape.head_dim


def _sending(peer: Peer, size_bytes: int) -> Callable[[], float]:
    payload = memoryview(os.urandom(size_bytes))

    def sent() -> float:
        began = time.perf_counter()
        peer.send(payload)
        return time.perf_counter() - began

    return sent


def _measured(model: Model, peer: Peer, tokens: int) -> Iterator[tuple[str, float]]:
    """Return the time [s] of each stage that computes, in order, each over what the one before it made and sent."""
    groups = model.groups(tokens, 0)
    yield "prefill", _least(model.device, lambda: model.prefill(groups))
    kv = _kv(groups, tokens)
    yield "quantise", _least(model.device, lambda: [quantise(of, "int8", "token") for of in kv])
    packed = [quantise(of, "int8", "token") for of in kv]
    _check_sent(peer, _bytes(packed))
    yield "dequantise", _least(model.device, lambda: [dequantise(*of, "int8") for of in packed])
    again = [dequantise(*of, "int8") for of in packed]
    later = model.groups(_asked(tokens), tokens)
    for group, of in zip(later, again, strict=True):
        group.keys[:, :, :tokens], group.values[:, :, :tokens] = of[:1], of[1:]
    yield "prefill on cache", _least(model.device, lambda: model.prefill(later))


def _least(device: Device, stage: Callable[[], object]) -> float:
    """Return the least time of a stage, by the clock of the device."""
    return min(device.burst(stage).value_s for _ in range(_REPEATS))


def _check_sent(peer: Peer, payload: bytearray) -> None:
    """Send the payload, have it sent back, and refuse other bytes."""
    peer.send(memoryview(payload))
    back = bytearray(len(payload))
    peer.receive(memoryview(back))
    if back != payload:
        raise InputError("what came over TCP is not what was sent")


def _row(stage: str, tokens: int, measured_s: float, predicted_s: float, speed: float) -> dict[str, Any]:
    now = 1.0 if stage == "send" else speed
    return {
        "stage": stage,
        "tokens": tokens,
        "measured_s": measured_s,
        "predicted_s": predicted_s,
        "error": predicted_s / measured_s - 1,
        "anchored_error": predicted_s * now / measured_s - 1,
        "speed": speed,
    }


def _summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the median errors of each stage, and of all."""
    found = []
    for stage in (*STAGES, "all"):
        of = [row for row in rows if stage in ("all", row["stage"])]
        told = {key: median(abs(row[key]) for row in of) for key in ("error", "anchored_error")}
        found.append({"stage": stage, "n": len(of), **told, "signed": median(row["error"] for row in of)})
    return found


def to_text(found: Mapping[str, Any]) -> str:
    """Return one line a stage and size, and the medians."""
    lines = [f"{'stage':<18}{'tokens':>7}{'measured':>12}{'predicted':>12}{'error':>9}{'anchored':>10}"]
    for row in sorted(found["rows"], key=lambda row: (STAGES.index(row["stage"]), row["tokens"])):
        times = f"{1e3 * row['measured_s']:>9.3f} ms{1e3 * row['predicted_s']:>9.3f} ms"
        errors = f"{100 * row['error']:>+7.1f} %{100 * row['anchored_error']:>+8.1f} %"
        lines.append(f"{row['stage']:<18}{row['tokens']:>7}{times}{errors}")
    lines.append("")
    for row in found["summary"]:
        verdict = "met" if row["anchored_error"] <= WANTED else f"missed: {100 * WANTED:g} % wanted"
        errors = f"{100 * row['error']:.1f} %, anchored {100 * row['anchored_error']:.1f} %"
        lines.append(f"{row['stage']}: median error {errors}: {verdict}")
    return "\n".join(lines) + "\n"
