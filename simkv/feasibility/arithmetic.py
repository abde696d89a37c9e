"""When does moving KV pay, how long does it take to hide it, and how much work is a turn? Formulas alone.

Plain numbers in, plain numbers out: nothing here knows scenarios, traces or units of input.
"""

from __future__ import annotations

import math

from simkv.compute.steptime import StepTime
from simkv.units import BITS_PER_BYTE


def break_even_bps(
    kv_bytes_per_token: float,
    prefill_tokens_per_s: float,
    *,
    text_bytes_per_token: float = 0.0,
    source_tokens_per_s: float = math.inf,
    blend_ratio: float = 0.0,
) -> float:
    """Return [bit/s] the rate above which the KV of a token is here sooner than its text, sent and prefilled.

    Parameters
    ----------
    kv_bytes_per_token : [bytes]
    prefill_tokens_per_s : [token/s] of the receiver, which would prefill the text.
    text_bytes_per_token : [bytes] that need not be sent when the KV is; 0 = the receiver has the text already, or
        needs it beside the KV.
    source_tokens_per_s : [token/s] at which the source computes the KV before it sends it; inf = it has it.
    blend_ratio : share of the tokens that the receiver recomputes although it got their KV (semantics B3).

    Returns
    -------
    [bit/s] of payload; inf when computing the KV takes as long as prefilling the text: no link is fast enough.

    Notes
    -----
    Per token: 8 k / B + 1 / r_source + blend / r  against  8 t / B + 1 / r.

    References
    ----------
    Qin et al., Mooncake, FAST 2025, section on transfer against recompute, for t = 0 and KV that is there.

    Examples
    --------
    >>> round(break_even_bps(36_864, 60) / 1e6, 1)
    17.7
    """
    saved_s = (1.0 - blend_ratio) / prefill_tokens_per_s - 1.0 / source_tokens_per_s
    extra_bits = BITS_PER_BYTE * (kv_bytes_per_token - text_bytes_per_token)
    if extra_bits <= 0:
        return 0.0
    return extra_bits / saved_s if saved_s > 0 else math.inf


def transfer_s(wire_bytes: float, capacity_bps: float) -> float:
    """Return [s] that bytes take on a link that carries nothing else, its delay not included.

    Examples
    --------
    >>> transfer_s(737_280, 1_966_080)
    3.0
    """
    return BITS_PER_BYTE * wire_bytes / capacity_bps if capacity_bps else math.inf


def chunk_load(chunk_bytes: float, spare_bps: float, gap_s: float) -> float:
    """Return x: what share of the bits that can pass between two turns, beside demand, one chunk takes.

    Parameters
    ----------
    chunk_bytes : [bytes] on the wire.
    spare_bps : [bit/s] capacity that demand leaves.
    gap_s : [s] answer + think time.

    Returns
    -------
    x of semantics H4; above 1 a chunk does not fit, inf when nothing is left.

    Examples
    --------
    >>> chunk_load(1_000_000, 4e6, 2.0)
    1.0
    """
    room_bits = spare_bps * gap_s
    return BITS_PER_BYTE * chunk_bytes / room_bits if room_bits > 0 else math.inf


def ceiling(helped_ratio: float) -> float:
    """Return by what factor a mean falls at most when a share of its sum vanishes: 1 / (1 - h); inf for 1.

    Parameters
    ----------
    helped_ratio : share of the *sum*; a share of the turns stands for it only when all of them cost the same.

    Examples
    --------
    >>> ceiling(0.75)
    4.0
    """
    return 1.0 / (1.0 - helped_ratio) if helped_ratio < 1.0 else math.inf


def prefill_s(step_time: StepTime, new_tokens: int, cached_tokens: int, budget_tokens: int) -> float:
    """Return [s] to prefill tokens alone, in steps of at most a token budget; the last step emits a token.

    Parameters
    ----------
    cached_tokens : [tokens] in front of them whose KV is there.

    Examples
    --------
    >>> from simkv.compute.steptime import FixedStepTime
    >>> round(prefill_s(FixedStepTime(0.1, 1.0), 5, 20, 2), 9)
    0.5
    """
    total_s = 0.0
    while new_tokens > 0:
        now = min(new_tokens, budget_tokens)
        new_tokens -= now
        total_s += step_time.step([(now, cached_tokens)], 0, 0, 0 if new_tokens else 1)
        cached_tokens += now
    return total_s


def decode_s(step_time: StepTime, context_tokens: int, output_tokens: int, batch: int = 1) -> float:
    """Return [s] of GPU time that the tokens of one answer after its first take, in a batch of equal ones.

    Parameters
    ----------
    context_tokens : [tokens] of the prompt.
    batch : sequences that share each step; 1 = alone, and then it is also how long the answer takes.

    Examples
    --------
    >>> from simkv.compute.steptime import FixedStepTime
    >>> decode_s(FixedStepTime(0.1, 1.0), 25, 5), decode_s(FixedStepTime(0.1, 1.0), 25, 5, batch=4)
    (4.0, 1.0)
    """
    total_s, left, context = 0.0, output_tokens - 1, context_tokens + 1
    while left > 0:
        steps, span_s = step_time.span(batch, batch * context, left, math.inf)
        total_s += span_s
        left -= steps
        context += steps
    return total_s / batch


def packed_prefill_s(step_time: StepTime, new_tokens: int, cached_tokens: int, budget_tokens: int) -> float:
    """Return [s] of GPU time that prefilling tokens takes at least: their share of steps that are always full.

    Examples
    --------
    >>> from simkv.compute.steptime import RooflineStepTime
    >>> from simkv.model import get
    >>> gpu = RooflineStepTime(get("Qwen2.5-3B"), 1e14, 1e12, overhead_s=0.001)
    >>> packed_prefill_s(gpu, 8, 0, 2048) < prefill_s(gpu, 8, 0, 2048) / 10
    True
    """
    if new_tokens <= 0:
        return 0.0
    return step_time.step([(budget_tokens, cached_tokens)], 0, 0, 0) * (new_tokens / budget_tokens)
