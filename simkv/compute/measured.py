"""What a GPU step takes by measured times of its operations (LLMServingSim's per-layer tables of vLLM kernels).

Arithmetic only. How files become tables is not answered here (`compute/calibration`, `profiling/`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from simkv.compute.attention import Attention, Skew
from simkv.compute.decode_curve import DecodeCurve
from simkv.compute.steptime import no_kernel
from simkv.compute.tables import Beyond, Grid, Line, Outside
from simkv.errors import InputError
from simkv.model import ModelShape

#: Operations by the number of tokens in a step, and how often a layer runs them.
PER_LAYER: Mapping[str, int] = {"qkv_proj": 1, "rotary_emb": 1, "o_proj": 1, "layernorm": 2}
#: The MLP of a layer; a table of experts stands in its place.
MLP: Mapping[str, int] = {"gate_up_proj": 1, "act_fn": 1, "down_proj": 1}
ALL_REDUCE = "all_reduce"
_ALL_REDUCES = 2  # a layer: after the attention and after the MLP (Megatron-LM, Shoeybi et al. 2019, section 3)
#: Run in a layer where the model (Qwen3) or the tensor-parallel group has it, and the tables do.
OPTIONAL: Mapping[str, int] = {"qk_norm": 1, ALL_REDUCE: _ALL_REDUCES}
#: Run once a step.
ONCE = ("embedding", "final_layernorm")
#: Operations by the number of sequences that emit a token.
PER_SEQUENCE = ("lm_head", "sampler")


class AllReduce(NamedTuple):
    """A ring all-reduce between the GPUs of a tensor-parallel group.

    Attributes
    ----------
    gpus : in the ring.
    bandwidth_bytes_per_s : [bytes/s] of the link from each to the next, one direction.
    latency_s : [s] of one hop.

    References
    ----------
    Patarasuk, Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", JPDC 69(2), 2009.

    Examples
    --------
    >>> AllReduce(2, 1e9, 1e-6).time_s(2_000_000)
    0.002002
    """

    gpus: int
    bandwidth_bytes_per_s: float
    latency_s: float

    def time_s(self, payload_bytes: float) -> float:
        """Return the time [s] to sum so many bytes: 2 (n - 1) hops that each carry 1/n of them."""
        return 2 * (self.gpus - 1) * (self.latency_s + payload_bytes / self.gpus / self.bandwidth_bytes_per_s)


@dataclass(frozen=True)
class LayerTables:
    """Measured times [s] of the operations of a step.

    Attributes
    ----------
    dense : by operation, over the tokens of a step; one call, so a layer's or the step's.
    per_sequence : by operation, over the sequences that emit.
    attention : of one layer.
    experts : of one layer, over tokens and activated experts; None = a dense MLP.
    skew : what unequal contexts cost; None = not measured, or the source says not to use it.
    """

    dense: Mapping[str, Line]
    per_sequence: Mapping[str, Line]
    attention: Attention
    experts: Grid | None = None
    skew: Skew | None = None

    def missing(self) -> list[str]:
        """Return the operations without which no step can be priced."""
        mlp = () if self.experts is not None else tuple(MLP)
        wanted = (*PER_LAYER, *mlp, *ONCE)
        absent = [name for name in wanted if name not in self.dense]
        return absent + [name for name in PER_SEQUENCE if name not in self.per_sequence]


#: The factor for unequal contexts is taken again after so many steps, for contexts become more alike as they grow. Held
#: to the end of a batch it makes the Qwen3-32B run of `simkv validate vllm` 0.7 % longer, taken anew every step no
#: shorter than this by more than 0.02 %.
SKEW_STEPS = 16


#: At which rate is KV read? By as many decodes as keep a GPU's memory busy, between two contexts [tokens] of each, over
#: which attention grows by the reading alone.
_READERS, _READ_TOKENS = 32, (1024, 4096)


class MeasuredStepTime:
    """A step costs what its operations took when they were measured one by one.

    Matrices and norms by the tokens in the step, lm_head and sampling by the sequences that emit, attention by its
    table. Several prefill chunks cost what each costs alone; decodes beside them add what the table says that they
    add to one chunk of the same total. Decodes are priced at their mean KV, and at r more where the profile says what
    unequal contexts cost (`Skew`); inside one span, r stays what it is at the start.

    Parameters
    ----------
    tables : the measured times.
    shape : the model.
    all_reduce : how the GPUs of a tensor-parallel group sum their parts, twice a layer; None = one GPU.
    strict : refuse what lies outside the measured range instead of extending the tables linearly.
    experts_elsewhere : leave the experts out: somebody else prices them (`lockstep.py`).

    Attributes
    ----------
    wants_longest : the tables say what unequal contexts cost.
    outside : the last answer rests, at least in part, on an extension of the tables.

    Notes
    -----
    Times of kernels alone: what the host adds to a step is not in them. Extensions never go below zero.
    """

    def __init__(
        self,
        tables: LayerTables,
        shape: ModelShape,
        all_reduce: AllReduce | None = None,
        strict: bool = False,
        *,
        experts_elsewhere: bool = False,
    ) -> None:
        absent = tables.missing()
        if absent:
            raise InputError(f"no times of {', '.join(absent)}")
        if tables.experts is not None and not shape.experts:
            raise InputError(f"it has times of experts, and the model {shape.name} has none")
        self._tables = tables
        self._shape = shape
        self._all_reduce = all_reduce
        self._strict = strict
        self._prices_experts = tables.experts is not None and not experts_elsewhere
        self._dense: dict[int, tuple[float, Outside]] = {}
        self._heads: dict[int, tuple[float, Outside]] = {}
        self._curves: dict[int, DecodeCurve] = {}
        self.wants_longest = tables.skew is not None
        self.outside = False

    def step(
        self,
        chunks: Sequence[tuple[int, int]],
        decodes: int,
        context_tokens: int,
        emitting: int,
        longest_tokens: int = 0,
    ) -> float:
        """Return the summed time of the operations; see `StepTime`."""
        if chunks:
            chunks = [chunk for chunk in chunks if chunk[0]]
        if chunks:
            return self._mixed(chunks, decodes, context_tokens, emitting, longest_tokens)
        if not decodes:
            self.outside = False
            return 0.0
        curve = self._curves.get(decodes) or self._curve(decodes)
        factor = curve.factor(context_tokens, longest_tokens) if longest_tokens else 1.0
        self.outside = bool(curve.outside) or not curve.low <= context_tokens <= curve.high
        if self.outside and self._strict:
            self._refuse(curve, context_tokens)
        step_s = curve.step(context_tokens, factor)
        if emitting != decodes:
            step_s += self._heads_s(emitting, []) - self._heads_s(decodes, [])
        return step_s

    def kernel_s(self, name: str, tokens: int, moved_bytes: int) -> float:
        """Return what decodes take to read as many bytes of KV: no kernel but those of steps was measured.

        That is an extension of the tables, so a strict profile refuses; see `StepTime`.
        """
        if self._strict:
            raise no_kernel(name)
        short_s, long_s = (self.step([], _READERS, _READERS * tokens, _READERS) for tokens in _READ_TOKENS)
        self.outside = True
        read_bytes = _READERS * (_READ_TOKENS[1] - _READ_TOKENS[0]) * self._shape.kv_bytes_per_token
        return moved_bytes * max(0.0, long_s - short_s) / read_bytes

    def span(
        self, batch: int, context_tokens: int, max_steps: int, until_s: float, longest_tokens: int = 0
    ) -> tuple[int, float]:
        """Return the steps to the first boundary at or after `until_s`; see `StepTime`."""
        curve = self._curves.get(batch) or self._curve(batch)
        factor = 1.0
        if longest_tokens and self.wants_longest:
            factor = curve.factor(context_tokens, longest_tokens)
            max_steps = min(max_steps, SKEW_STEPS)
        steps, duration_s = curve.span(context_tokens, max_steps, until_s, factor)
        last = context_tokens + (steps - 1) * batch
        self.outside = context_tokens < curve.low or last > curve.high or bool(curve.outside)
        if self.outside and self._strict:
            self._refuse(curve, context_tokens if context_tokens < curve.low else last)
        return steps, duration_s

    def _mixed(
        self, chunks: Sequence[tuple[int, int]], decodes: int, context_tokens: int, emitting: int, longest_tokens: int
    ) -> float:
        """Return the time [s] of a step with prefill."""
        seen: Outside = []
        total = sum([new for new, _ in chunks])
        kv_decode = context_tokens / decodes + 1 if decodes else 0.0
        attention_s = self._attention_s(chunks, total, decodes, kv_decode, seen)
        skew = self._tables.skew
        if longest_tokens and decodes > 1 and skew is not None:
            attention_s *= 1.0 + skew.ratio(total, decodes, kv_decode / (longest_tokens + 1))
        step_s = self._dense_s(total + decodes, seen) + self._heads_s(emitting, seen)
        self.outside = bool(seen)
        if seen and self._strict:
            raise InputError(f"{seen[0]}, and the profile is strict")
        return step_s + self._shape.layers * attention_s

    def _attention_s(
        self, chunks: Sequence[tuple[int, int]], total: int, decodes: int, kv_decode: float, seen: Outside
    ) -> float:
        """Return the attention [s] of one layer; see the class."""
        at = self._tables.attention.at
        if len(chunks) == 1:
            return max(at(total, chunks[0][1], decodes, kv_decode, seen), 0.0)
        attention_s = sum([max(at(new, cached, 0, 0.0, seen), 0.0) for new, cached in chunks])
        if decodes:
            mean_cached = sum([new * cached for new, cached in chunks]) / total
            added_s = at(total, mean_cached, decodes, kv_decode, seen) - at(total, mean_cached, 0, 0.0, seen)
            attention_s = max(attention_s + added_s, 0.0)
        return attention_s

    def _dense_s(self, tokens: int, seen: Outside) -> float:
        """Return the time [s] of everything that depends on the tokens of a step alone."""
        if tokens not in self._dense:
            self._dense[tokens] = self._dense_of(tokens)
        time_s, left = self._dense[tokens]
        seen += left
        return time_s

    def _dense_of(self, tokens: int) -> tuple[float, Outside]:
        left: Outside = []
        dense, experts = self._tables.dense, self._tables.experts
        times = {**PER_LAYER, **({} if experts is not None else MLP)}
        times |= {name: count for name, count in OPTIONAL.items() if name in dense}
        layer_s = sum(count * max(dense[name].at(tokens, left), 0.0) for name, count in times.items())
        if experts is not None and self._prices_experts:
            layer_s += max(experts.at(tokens, self._shape.activated_experts(tokens), left), 0.0)
        if self._all_reduce is not None:
            summed_bytes = tokens * self._shape.hidden * self._shape.dtype_bytes
            layer_s += _ALL_REDUCES * self._all_reduce.time_s(summed_bytes)
        once_s = sum(max(dense[name].at(tokens, left), 0.0) for name in ONCE)
        return self._shape.layers * layer_s + once_s, left

    def _heads_s(self, emitting: int, seen: Outside) -> float:
        """Return the time [s] of everything that depends on the sequences that emit."""
        if not emitting:
            return 0.0
        if emitting not in self._heads:
            left: Outside = []
            lines = self._tables.per_sequence
            time_s = sum(max(lines[name].at(emitting, left), 0.0) for name in PER_SEQUENCE)
            self._heads[emitting] = time_s, left
        time_s, left = self._heads[emitting]
        seen += left
        return time_s

    def _curve(self, batch: int) -> DecodeCurve:
        """Return the prices of a batch of decodes of this size, made when it first occurs."""
        tables = self._tables
        outside: Outside = []
        left: Outside = []
        fixed_s = self._dense_s(batch, outside) + self._heads_s(batch, outside)
        points = []
        for kv_decode in tables.attention.kv_places(batch):
            attention_s = tables.attention.at(0, 0.0, batch, kv_decode, left)
            points.append((batch * (kv_decode - 1), self._shape.layers * attention_s))
        outside += [item for item in left if item.axis != "kv_decode"]  # at its own places only the batch can be
        skew = tables.skew.line(0, batch) if tables.skew is not None and batch > 1 else None
        self._curves[batch] = DecodeCurve(batch, fixed_s, points, skew, outside)
        return self._curves[batch]

    def _refuse(self, curve: DecodeCurve, context_tokens: int) -> None:
        places = (curve.low / curve.batch + 1, curve.high / curve.batch + 1)
        kv_decode = Beyond("attention", "kv_decode", context_tokens / curve.batch + 1, *places)
        raise InputError(f"{(curve.outside or [kv_decode])[0]}, and the profile is strict")
