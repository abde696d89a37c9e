"""A calibration of one model on one device: who measured what with which software, and the price list it gives.

How it stands in files is told in `calibration_file`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from simkv.compute.calibration_quality import laws, prices_steps
from simkv.compute.layer_passes import LayerStepTime
from simkv.compute.lockstep import LockstepStepTime, Spread
from simkv.compute.measured import ALL_REDUCE, AllReduce, LayerTables, MeasuredStepTime
from simkv.compute.op_law import OpLaw
from simkv.compute.op_table import PASSES, OpTable, layer_tables, pass_tables
from simkv.compute.steptime import StepTime
from simkv.compute.tables import Line
from simkv.compute.two_table import DecodeTable, TwoTableStepTime
from simkv.errors import InputError
from simkv.model import ModelShape

#: Facts of a model's shape that its times depend on; a calibration names those that it was made with.
SHAPE_FACTS = (
    *("layers", "hidden", "heads", "kv_heads", "head_dim", "intermediate", "vocab"),
    *("experts", "experts_per_token", "expert_intermediate"),
)


@dataclass(frozen=True)
class SourceFile:
    """A file that was imported.

    Attributes
    ----------
    file : its name.
    sha256 : of its content, uncompressed.
    """

    file: str
    sha256: str


@dataclass(frozen=True)
class Provenance:
    """Where imported times come from."""

    project: str
    version: str
    licence: str
    files: tuple[SourceFile, ...]
    imported_by: str


@dataclass(frozen=True, eq=False)  # one object a file, so identity will do; `cached_property` fills it later
class MeasuredProfile:
    """Measured times of one model on one device, and what they give.

    Attributes
    ----------
    where : the file or folder that was read, as messages name it.
    model_name : as the source names it, a Hugging Face repository as a rule.
    shape_facts : of `SHAPE_FACTS`, the numbers of the model that was measured; empty = not known.
    device : the GPU.
    tp : GPUs of the tensor-parallel group whose rank was measured.
    software : name -> version.
    clock : how times were taken.
    provenance : of the source.
    skewed : the source says to price unequal contexts by its measurements.
    notes : what a reader of results should know, by what it is about.
    ops : the times.
    kind : "imported", "derived" from times of single operations, or "measured" by `simkv calibrate`.
    quality : how well they are known, of those that `simkv calibrate` measured; see `calibration_quality`.
    """

    where: str
    model_name: str
    shape_facts: Mapping[str, int]
    device: str
    tp: int
    software: Mapping[str, str]
    clock: Mapping[str, str]
    provenance: Provenance
    skewed: bool
    notes: Mapping[str, str]
    ops: tuple[OpTable, ...] = field(repr=False)
    kind: str = "imported"
    quality: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def of_passes(self) -> bool:
        """Whether it holds times of whole passes instead of times of operations."""
        return any(op.name in PASSES for op in self.ops)

    @property
    def has_all_reduce(self) -> bool:
        """Whether it holds times of what the GPUs of its group tell each other, so that no link is wanted."""
        return any(op.name == ALL_REDUCE for op in self.ops)

    @cached_property
    def _layer_tables(self) -> LayerTables:
        return layer_tables(self.ops, self.skewed)

    @cached_property
    def _pass_tables(self) -> tuple[Line, DecodeTable]:
        return pass_tables(self.ops)

    @cached_property
    def laws(self) -> Mapping[str, OpLaw]:
        """What each operation costs anywhere, of those that `simkv calibrate` measured; nothing for imported ones."""
        return {} if self.quality is None else laws(self.quality, self.ops)

    def check(self) -> None:
        """Refuse tables that no step can be priced with; a calibration may be of other operations alone.

        Raises
        ------
        InputError : an operation without times.
        """
        if self.quality is not None:
            return
        try:
            absent = [] if self.of_passes and self._pass_tables else self._layer_tables.missing()
        except InputError as error:
            raise InputError(str(error), self.where) from None
        if absent:
            raise InputError(f"no times of {', '.join(absent)}", self.where)

    def step_time(
        self,
        shape: ModelShape,
        link_bandwidth_bytes_per_s: float | None = None,
        link_latency_s: float | None = None,
        strict: bool = False,
        *,
        expert_ranks: int = 1,
    ) -> StepTime:
        """Return the price list of this device for a model, which must be the one that was measured.

        Parameters
        ----------
        shape : the model.
        link_bandwidth_bytes_per_s : [bytes/s] of the link between the GPUs of a group; wanted when tp > 1, unless it
            holds times of all-reduces, in whose place a stated link stands.
        link_latency_s : [s] of one hop over it; wanted with the bandwidth.
        strict : refuse what lies outside the measured range.
        expert_ranks : data-parallel ranks over which experts are spread, in one batch; the link is wanted when > 1.

        Raises
        ------
        InputError : another model, an operation without times, or a link wanted and not stated.
        """
        self._check_model(shape)
        self.check()
        whole = self.quality is not None or self.of_passes
        self._check_use(whole, expert_ranks, (link_bandwidth_bytes_per_s, link_latency_s))
        if self.quality is not None:
            return self._layer_steps(shape, strict)
        if self.of_passes:
            return TwoTableStepTime(*self._pass_tables, strict)
        all_reduce = self._all_reduce(link_bandwidth_bytes_per_s, link_latency_s)
        try:
            if expert_ranks > 1:
                link = (link_bandwidth_bytes_per_s, link_latency_s)
                return self._in_lockstep(shape, all_reduce, link, expert_ranks, strict)
            return MeasuredStepTime(self._tables_beside(all_reduce), shape, all_reduce, strict)
        except InputError as error:
            raise InputError(str(error), self.where) from None

    def _layer_steps(self, shape: ModelShape, strict: bool) -> StepTime:
        by_name = {op.name: op for op in self.ops}
        try:
            return LayerStepTime(self.laws, by_name.get("mixed_layer"), by_name.get("unequal_layer"), shape, strict)
        except InputError as error:
            raise InputError(str(error), self.where) from None

    def _check_use(self, whole: bool, expert_ranks: int, link: tuple[float | None, float | None]) -> None:
        """Refuse what these times would ignore: ranks that share experts, and a link that nothing crosses."""
        if whole and expert_ranks > 1:
            raise InputError(f"no times of experts, which {expert_ranks} data-parallel ranks share", self.where)
        if link != (None, None) and (whole or self.tp == expert_ranks == 1):
            found = "whole layers or passes" if whole else "one GPU"
            raise InputError(
                f"its times are of {found}, which use no link: want neither link_bandwidth nor link_latency", self.where
            )

    def _in_lockstep(
        self,
        shape: ModelShape,
        all_reduce: AllReduce | None,
        link: tuple[float | None, float | None],
        ranks: int,
        strict: bool,
    ) -> StepTime:
        tables, (bandwidth, latency) = self._tables_beside(all_reduce), link
        if tables.experts is None:
            raise InputError(f"no times of experts (table moe), which {ranks} data-parallel ranks share")
        if bandwidth is None or latency is None:
            raise InputError(f"want the link between {ranks} data-parallel ranks: link_bandwidth and link_latency")
        rank = MeasuredStepTime(tables, shape, all_reduce, strict, experts_elsewhere=True)
        return LockstepStepTime(rank, Spread(ranks, tables.experts, shape, bandwidth, latency), strict)

    def _tables_beside(self, all_reduce: AllReduce | None) -> LayerTables:
        """Return the tables; a stated link stands in the place of measured all-reduces."""
        tables = self._layer_tables
        if all_reduce is None or not self.has_all_reduce:
            return tables
        return replace(tables, dense={name: line for name, line in tables.dense.items() if name != ALL_REDUCE})

    def _check_model(self, shape: ModelShape) -> None:
        if not self.shape_facts:
            name = self.model_name.rpartition("/")[2]
            if name.lower() != shape.name.lower():
                raise InputError(f"its times are those of {self.model_name}, not of {shape.name}", self.where)
            return
        for fact, value in self.shape_facts.items():
            if getattr(shape, fact) != value:
                found = f"{fact} {value} against {getattr(shape, fact)} of {shape.name}"
                raise InputError(f"its times are those of {self.model_name}: {found}", self.where)

    def _all_reduce(self, bandwidth_bytes_per_s: float | None, latency_s: float | None) -> AllReduce | None:
        if self.tp == 1:
            return None
        if self.has_all_reduce and bandwidth_bytes_per_s is None and latency_s is None:
            return None
        if bandwidth_bytes_per_s is None or latency_s is None:
            absent = "link_bandwidth" if bandwidth_bytes_per_s is None else "link_latency"
            example = "32 GB/s" if bandwidth_bytes_per_s is None else "10 us"
            alone = f"times of one of {self.tp} GPUs, without what they tell each other"
            found = "half of a link in place of its all-reduces" if self.has_all_reduce else alone
            raise InputError(f"{found}: want {absent}, such as {example!r}", self.where)
        return AllReduce(self.tp, bandwidth_bytes_per_s, latency_s)

    def facts(self) -> dict[str, Any]:
        """Return what a person wants to know of it, the times aside."""
        return {
            "profile": self.where,
            "kind": self.kind,
            "model": self.model_name,
            "device": self.device,
            "tp": self.tp,
            "software": dict(self.software),
            "clock": dict(self.clock),
            "source": f"{self.provenance.project} {self.provenance.version}, {self.provenance.licence}",
            "prices": self._priced_by(),
            "unequal_contexts": "priced" if self.skewed else "by their mean",
            "rows": sum(len(op.rows) for op in self.ops),
            "notes": dict(self.notes),
        }

    def _priced_by(self) -> str:
        if self.quality is None:
            return "passes" if self.of_passes else "operations"
        return "layers" if prices_steps(self.ops) else "no steps: KV operations alone"
