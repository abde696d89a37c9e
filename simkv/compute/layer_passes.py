"""What a step takes by measured times of whole layers: prefill and decode tables of `simkv calibrate`.

Arithmetic only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

from simkv.compute.decode_curve import DecodeCurve
from simkv.compute.measured import SKEW_STEPS
from simkv.compute.op_law import OpLaw
from simkv.compute.op_table import LAYER_PASSES, OpTable
from simkv.compute.steptime import no_kernel
from simkv.compute.tables import Outside
from simkv.errors import InputError
from simkv.model import ModelShape

_PIECES = 4  # a table bends smoothly between measured contexts; its line has so many pieces there


class LayerStepTime:
    """A step costs its layers, the embedding of its tokens, and lm_head for the sequences that emit.

    Several prefill chunks cost what each costs alone. Decodes are priced at their mean context, moved towards the
    longest by the share that unequal contexts showed; a step with prefill and decodes costs the sum of both times the
    median ratio that mixed steps showed. Both are 0 and 1 where they were not measured.

    Parameters
    ----------
    laws : of prefill_layer, decode_layer, embedding and lm_head.
    mixed, unequal : the measured steps of those kinds; None = none.
    shape : the model.
    strict : refuse what lies outside the measured range.

    Attributes
    ----------
    wants_longest : unequal contexts were measured.
    outside : the last answer rests, at least in part, on an extension.
    mixed_ratio : a mixed step over the sum of its parts.
    longest_share : how far unequal contexts move the price from that of their mean to that of the longest.
    """

    def __init__(
        self,
        laws: Mapping[str, OpLaw],
        mixed: OpTable | None,
        unequal: OpTable | None,
        shape: ModelShape,
        strict: bool = False,
    ) -> None:
        absent = [name for name in LAYER_PASSES if name not in laws]
        if absent:
            raise InputError(f"no times of {', '.join(absent)}")
        self._laws, self._shape, self._strict = laws, shape, strict
        self._curves: dict[int, DecodeCurve] = {}
        self.mixed_ratio = 1.0 if mixed is None else mixed_ratio(laws, mixed)
        self.longest_share = 0.0 if unequal is None else longest_share(laws, unequal)
        self.wants_longest = self.longest_share > 0
        self.outside = False

    def step(
        self,
        chunks: Sequence[tuple[int, int]],
        decodes: int,
        context_tokens: int,
        emitting: int,
        longest_tokens: int = 0,
    ) -> float:
        """Return the time of layers, embedding and lm_head; see `StepTime`."""
        chunks = [chunk for chunk in chunks if chunk[0]]
        seen: Outside = []
        self.outside = False
        if not chunks and not decodes:
            return 0.0
        if not chunks and emitting == decodes:
            return self._decode_step(decodes, context_tokens, longest_tokens)
        layer_s = sum(self._laws["prefill_layer"].at(chunk, seen) for chunk in chunks)
        if decodes:
            layer_s += self._decode_s(decodes, context_tokens, longest_tokens, seen)
            layer_s *= self.mixed_ratio if chunks else 1.0
        tokens = sum(new for new, _ in chunks) + decodes
        step_s = self._shape.layers * layer_s + self._once_s(tokens, emitting, seen)
        self.outside = bool(seen)
        if seen and self._strict:
            raise InputError(f"{seen[0]}, and the profile is strict")
        return step_s

    def span(
        self, batch: int, context_tokens: int, max_steps: int, until_s: float, longest_tokens: int = 0
    ) -> tuple[int, float]:
        """Return the steps to the first boundary at or after `until_s`; see `StepTime`."""
        curve = self._curves.get(batch) or self._curve(batch)
        factor = 1.0
        if longest_tokens and self.wants_longest:
            factor = self._factor(batch, context_tokens, longest_tokens)
            max_steps = min(max_steps, SKEW_STEPS)
        steps, duration_s = curve.span(context_tokens, max_steps, until_s, factor)
        self._note(curve, context_tokens, context_tokens + (steps - 1) * batch)
        return steps, duration_s

    def kernel_s(self, name: str, tokens: int, moved_bytes: int) -> float:
        """Return the time of all layers' KV, one layer after the other as it was measured; see `StepTime`."""
        if name not in self._laws:
            raise no_kernel(name)
        seen: Outside = []
        layer_s = self._laws[name].at((tokens,), seen)
        self.outside = bool(seen)
        if seen and self._strict:
            raise InputError(f"{seen[0]}, and the profile is strict")
        return self._shape.layers * layer_s

    def _decode_step(self, decodes: int, context_tokens: int, longest_tokens: int) -> float:
        curve = self._curves.get(decodes) or self._curve(decodes)
        factor = self._factor(decodes, context_tokens, longest_tokens)
        self._note(curve, context_tokens, context_tokens)
        return curve.step(context_tokens, factor)

    def _note(self, curve: DecodeCurve, low: int, high: int) -> None:
        self.outside = bool(curve.outside) or low < curve.low or high > curve.high
        if self.outside and self._strict:
            found = curve.outside[0] if curve.outside else f"{high} tokens of summed context"
            raise InputError(f"{found}, outside what was measured, and the profile is strict")

    def _decode_s(self, decodes: int, context_tokens: int, longest_tokens: int, seen: Outside) -> float:
        mean_s = self._laws["decode_layer"].at((decodes, context_tokens / decodes), seen)
        return mean_s * self._factor(decodes, context_tokens, longest_tokens)

    def _factor(self, decodes: int, context_tokens: int, longest_tokens: int) -> float:
        """Return what unequal contexts multiply the price of a layer by."""
        mean = context_tokens / decodes
        if not self.wants_longest or longest_tokens <= mean:
            return 1.0
        law = self._laws["decode_layer"]
        ratio = law.at((decodes, longest_tokens), []) / law.at((decodes, mean), [])
        return 1.0 + self.longest_share * max(ratio - 1.0, 0.0)

    def _once_s(self, tokens: int, emitting: int, seen: Outside) -> float:
        head_s = self._laws["lm_head"].at((emitting,), seen) if emitting else 0.0
        return self._laws["embedding"].at((tokens,), seen) + head_s

    def _curve(self, batch: int) -> DecodeCurve:
        """Return the prices of a batch of decodes of this size, made when it first occurs."""
        law, outside = self._laws["decode_layer"], Outside()
        fixed_s = self._once_s(batch, batch, outside)
        points = []
        for context in law.places(1, _PIECES):
            points.append((batch * context, self._shape.layers * law.at((batch, context), outside)))
        self._curves[batch] = DecodeCurve(batch, fixed_s, points, None, outside)
        return self._curves[batch]


def mixed_ratio(laws: Mapping[str, OpLaw], mixed: OpTable) -> float:
    """Return the median of a mixed step over the sum of its prefill and its decodes."""
    ratios = []
    for chunk, cached, decodes, context, time_s in mixed.rows:
        parts_s = laws["prefill_layer"].at((chunk, cached), []) + laws["decode_layer"].at((decodes, context), [])
        ratios.append(time_s / parts_s)
    return median(ratios)


def longest_share(laws: Mapping[str, OpLaw], unequal: OpTable) -> float:
    """Return the median of how far from the price of the mean context to that of the longest unequal ones lie."""
    shares = []
    law = laws["decode_layer"]
    for decodes, mean, longest, time_s in unequal.rows:
        mean_s, longest_s = (law.at((decodes, context), []) for context in (mean, longest))
        if longest_s > 1.05 * mean_s:  # less than that is noise over noise
            shares.append((time_s - mean_s) / (longest_s - mean_s))
    return min(max(median(shares), 0.0), 1.5) if shares and math.isfinite(sum(shares)) else 0.0
