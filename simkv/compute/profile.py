"""What is known of a device: named profiles that price its steps.

A profile turns a model's shape into a `StepTime`. Profiles here are computed from data sheets and a stated
efficiency, and say so in their name (`analytic-`); measured ones extend the same registry.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, make_dataclass
from importlib import resources
from typing import Any, ClassVar, Protocol

from simkv.compute.steptime import FixedStepTime, RooflineStepTime, StepTime
from simkv.model import ModelShape
from simkv.registry import Registry


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
        if self.prefill_per_token_s < 0 or self.decode_step_s < 0:
            raise ValueError("times must not be negative")

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
        if self.peak_flop_per_s <= 0 or self.peak_memory_bytes_per_s <= 0 or self.overhead_s < 0:
            raise ValueError("peaks must be positive and overhead must not be negative")
        if not (0 < self.flop_efficiency <= 1 and 0 < self.memory_efficiency <= 1):
            raise ValueError("efficiencies must be in (0, 1]")
        if self.weight_bits not in (4, 8, 16):
            raise ValueError(f"weight_bits must be 4, 8 or 16, got {self.weight_bits}")

    def step_time(self, shape: ModelShape) -> StepTime:
        """Return the roofline of this device for one model."""
        return RooflineStepTime(
            shape,
            self.peak_flop_per_s * self.flop_efficiency,
            self.peak_memory_bytes_per_s * self.memory_efficiency,
            self.overhead_s,
            self.weight_bits,
        )


def _register_ready_made() -> None:
    """File every `profiles/*.json` as an analytic profile whose parameters default to what the file says."""
    folder = resources.files("simkv.profiles")
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.name.endswith(".json"):
            facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            fields = [(key, type(value), field(default=value)) for key, value in facts["parameters"].items()]
            ready_made = make_dataclass(
                facts["name"].replace("-", "_"), fields, bases=(Analytic,), frozen=True, namespace={"__doc__": facts["doc"]}
            )
            PROFILES.register(facts["name"])(ready_made)


_register_ready_made()
