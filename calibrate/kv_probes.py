"""What is done to the KV of one layer: quantised and packed, scored and picked from, taken apart by rank."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d

from .device import Call
from .layer import Layers

_LEVELS_OF = {"int8": 255, "int4": 15, "int3": 7, "int2": 3}
_WINDOW, _POOL, _KEPT = 32, 7, 4  # SnapKV: queries of the window, width of the pool, 1/4 of the tokens kept
_POWER_STEPS = 2  # of the randomised decomposition (Halko, Martinsson, Tropp, SIAM Review 53(2), 2011)


def pack(codes: Tensor, bits: str) -> Tensor:
    """Return codes of 2, 3 or 4 bits side by side in bytes, along the last axis; of 8 bits as they are."""
    if bits == "int8":
        return codes
    if bits == "int4":
        return codes[..., ::2] | (codes[..., 1::2] << 4)
    if bits == "int2":
        first, second, third, fourth = (codes[..., place::4] for place in range(4))
        return first | (second << 2) | (third << 4) | (fourth << 6)
    a, b, c, d, e, f, g, h = (codes[..., place::8] for place in range(8))  # eight codes of 3 bits are three bytes
    low = a | (b << 3) | (c << 6)
    middle = (c >> 2) | (d << 1) | (e << 4) | (f << 7)
    high = (f >> 1) | (g << 2) | (h << 5)
    return torch.stack((low, middle, high), -1).flatten(-2)


def unpack(packed: Tensor, bits: str) -> Tensor:
    """Return the codes again."""
    if bits == "int8":
        return packed
    parts: tuple[Tensor, ...]
    if bits == "int4":
        parts = (packed & 15, packed >> 4)
    elif bits == "int2":
        parts = (packed & 3, (packed >> 2) & 3, (packed >> 4) & 3, packed >> 6)
    else:
        low, middle, high = (packed[..., place::3] for place in range(3))
        parts = (
            *(low & 7, (low >> 3) & 7, (low >> 6) | ((middle & 1) << 2), (middle >> 1) & 7),
            *((middle >> 4) & 7, (middle >> 7) | ((high & 3) << 1), (high >> 2) & 7, high >> 5),
        )
    return torch.stack(parts, -1).flatten(-2)


def quantise(kv: Tensor, bits: str, per: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return packed codes, scale and least value of KV [2, heads, tokens, width].

    Parameters
    ----------
    kv : keys and values of one layer.
    bits : int8, int4, int3 or int2.
    per : "token": a scale for each token of a head; "channel": for each channel of a head.
    """
    axis = -1 if per == "token" else -2
    least, most = kv.amin(axis, keepdim=True), kv.amax(axis, keepdim=True)
    scale = ((most - least) / _LEVELS_OF[bits]).clamp_min(1e-6)
    codes = ((kv - least) / scale).round_().clamp_(0, _LEVELS_OF[bits]).to(torch.uint8)
    return pack(codes, bits), scale, least


def dequantise(packed: Tensor, scale: Tensor, least: Tensor, bits: str) -> Tensor:
    """Return KV again, in the type of the scale."""
    return unpack(packed, bits).to(scale.dtype).mul_(scale).add_(least)


class KvProbes:
    """Calls over the KV of one layer.

    Parameters
    ----------
    layers : the model whose KV it is, and where.
    """

    def __init__(self, layers: Layers) -> None:
        self._layers = layers

    def kv(self, tokens: int) -> Tensor:
        """Return random keys and values [2, heads, tokens, width]."""
        of = self._layers.shape
        return self._layers.randn(2, of.kv_heads, tokens, of.head_dim)

    def codec(self, op: str, tokens: int) -> Call:
        """Return the call that an operation such as quantise_int4_token means."""
        way, bits, *per = op.split("_")
        kv = self.kv(tokens)
        if bits == "fp8":
            small = kv.to(torch.float8_e4m3fn)
            return (lambda: kv.to(torch.float8_e4m3fn)) if way == "quantise" else (lambda: small.to(kv.dtype))
        if way == "quantise":
            return lambda: quantise(kv, bits, per[0])
        packed, scale, least = quantise(kv, bits, per[0])
        return lambda: dequantise(packed, scale, least, bits)

    # -- selection -------------------------------------------------------------------------------------------------

    def _weights(self, queries: Tensor, keys: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return attention weights [kv_heads, queries of their group, tokens]."""
        of = self._layers.shape
        scores = queries @ keys.transpose(-1, -2) * of.head_dim**-0.5
        return torch.softmax(scores if mask is None else scores + mask, -1)

    def _queries(self, count: int) -> Tensor:
        of = self._layers.shape
        return self._layers.randn(of.kv_heads, of.heads // of.kv_heads * count, of.head_dim)

    def q2c(self, tokens: int, queries: int) -> Call:
        """Return how much the queries of a question look at each token of a context, summed over heads and queries."""
        asked, keys = self._queries(queries), self.kv(tokens)[0]
        return lambda: self._weights(asked, keys).sum((0, 1))

    def snapkv(self, tokens: int) -> Call:
        """Return the tokens that the last window looks at most, after pooling (Li et al., SnapKV, 2024)."""
        asked, keys = self._queries(_WINDOW), self.kv(tokens)[0]
        kept = max(1, tokens // _KEPT)

        def picked() -> Tensor:
            seen = self._weights(asked, keys).sum(1)
            return avg_pool1d(seen, _POOL, 1, _POOL // 2).topk(kept, -1).indices

        return picked

    def h2o(self, tokens: int) -> Call:
        """Return what all tokens together look at: column sums of full causal attention (Zhang et al., H2O, 2023)."""
        of = self._layers.shape
        asked, keys = self._queries(tokens), self.kv(tokens)[0]
        mask = torch.full((tokens, tokens), float("-inf"), dtype=keys.dtype, device=keys.device).triu_(1)
        mask = mask.repeat(of.heads // of.kv_heads, 1)
        return lambda: self._weights(asked, keys, mask).sum(1)

    def picked(self, op: str, tokens: int, kept: int) -> Call:
        """Return the call that takes tokens out of KV (gather), or puts them into it (scatter)."""
        kv = self.kv(tokens)
        order = torch.randperm(tokens, device="cpu").to(kv.device)
        index = order[: min(kept, tokens)].sort().values
        if op == "gather":
            return lambda: kv.index_select(2, index)
        small = kv.index_select(2, index)
        return lambda: kv.index_copy_(2, index, small)

    # -- spectral --------------------------------------------------------------------------------------------------

    def svd(self, op: str, tokens: int, rank: int) -> Call:
        """Return the call that takes KV apart into `rank` directions of each head, all heads together."""
        kv = self.kv(tokens).flatten(0, 1)
        rank = min(rank, tokens, kv.shape[-1])
        if op == "svd_gram":
            return lambda: gram(kv, rank)
        if op == "svd_full":
            return lambda: full(kv, rank)
        return lambda: torch.svd_lowrank(kv.float(), rank, _POWER_STEPS)


def gram(kv: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return coordinates and directions by the eigenvectors of the Gram matrix: cheap where width is small."""
    wide = kv.float()
    directions = torch.linalg.eigh(wide.mT @ wide).eigenvectors[..., -rank:]
    return wide @ directions, directions


def full(kv: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the decomposition computed whole and cut."""
    left, values, right = torch.linalg.svd(kv.float(), full_matrices=False)
    return left[..., :rank], values[..., :rank], right[..., :rank, :]
