"""In which form does KV travel? How many bytes it takes on the wire, and what its coding and decoding touch.

Arithmetic only. A codec codes at the sender before a transfer and decodes at the receiver after it; what lies in
buffers is whole. How long that takes is a GPU's business (`StepTime.kernel_s`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from simkv.registry import Registry
from simkv.units import BITS_PER_BYTE

_SCALE_BYTES = 2  # a 16-bit scale a group, as in KIVI and in the INT8/INT4 KV caches of serving engines


class Codec(Protocol):
    """Two methods to write, whether answers are the same, and the operations of a calibration that code and decode."""

    exact: ClassVar[bool]
    kernels: ClassVar[tuple[str, str]]

    def nominal_bytes(self, kv_bytes: int, element_bytes: int) -> int:
        """Return the [bytes] that papers state of so much KV: without scales and the like."""

    def wire_bytes(self, kv_bytes: int, element_bytes: int) -> int:
        """Return the [bytes] on the wire of so much KV, whose elements take so many each; scales included."""


CODEC: Registry[Codec] = Registry("codec", "simkv.codec")


@CODEC.register("identity")
@dataclass(frozen=True)
class Identity:
    """Move KV as it is: no bytes saved, no quality lost, no time spent.

    Source: none.
    """

    exact: ClassVar[bool] = True
    kernels: ClassVar[tuple[str, str]] = ("", "")

    def nominal_bytes(self, kv_bytes: int, element_bytes: int) -> int:
        """Return the same; see `Codec`."""
        return kv_bytes

    def wire_bytes(self, kv_bytes: int, element_bytes: int) -> int:
        """Return the same; see `Codec`."""
        return kv_bytes


@dataclass(frozen=True)
class _Quantised:
    """Integers of so many bits with a scale a group of elements."""

    bits: ClassVar[int]
    exact: ClassVar[bool] = False
    kernels: ClassVar[tuple[str, str]]

    group: int = 32

    def __post_init__(self) -> None:
        if self.group < 1:
            raise ValueError(f"group: want at least 1 element a scale, got {self.group}")

    def nominal_bytes(self, kv_bytes: int, element_bytes: int) -> int:
        """Return [bytes] of the integers; see `Codec`."""
        return -(-(kv_bytes // element_bytes) * self.bits // BITS_PER_BYTE)

    def wire_bytes(self, kv_bytes: int, element_bytes: int) -> int:
        """Return [bytes] of integers and scales; see `Codec`."""
        scales = -(-(kv_bytes // element_bytes) // self.group)
        return self.nominal_bytes(kv_bytes, element_bytes) + scales * _SCALE_BYTES


@CODEC.register("int8")
@dataclass(frozen=True)
class Int8(_Quantised):
    """Move KV as 8-bit integers with a scale for each group of elements.

    Attributes
    ----------
    group : elements that share a scale.

    Source: the INT8 KV caches of LMDeploy and TensorRT-LLM; groups as KIVI's (Liu et al., ICML'24).

    Examples
    --------
    >>> Int8().wire_bytes(64_000, 2), Int8().nominal_bytes(64_000, 2)
    (34000, 32000)
    """

    bits: ClassVar[int] = 8
    kernels: ClassVar[tuple[str, str]] = ("quantise_int8_token", "dequantise_int8_token")


@CODEC.register("int4")
@dataclass(frozen=True)
class Int4(_Quantised):
    """Move KV as 4-bit integers with a scale for each group of elements.

    Attributes
    ----------
    group : elements that share a scale.

    Source: KIVI (Liu et al., ICML'24), whose groups are 32 elements; Atom (Zhao et al., MLSys'24).

    Examples
    --------
    >>> Int4().wire_bytes(64_000, 2), Int4().nominal_bytes(64_000, 2)
    (18000, 16000)
    """

    bits: ClassVar[int] = 4
    kernels: ClassVar[tuple[str, str]] = ("quantise_int4_token", "dequantise_int4_token")
