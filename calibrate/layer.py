"""One decoder layer in plain PyTorch with random weights: RMSNorm, RoPE, grouped queries, SDPA, SwiGLU."""

from __future__ import annotations

from itertools import cycle
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear, rms_norm, scaled_dot_product_attention, silu

from simkv.model import ModelShape

from .device import Call, Device

_ROPE_BASE = 1e6  # of Qwen2.5; it does not change what is computed
_SCALE = 0.02  # of random weights: keeps activations finite in 16 bits


class Weights(NamedTuple):
    """Of one layer."""

    norm_in: Tensor
    qkv: Tensor
    bias: Tensor | None
    out: Tensor
    norm_mlp: Tensor
    gate_up: Tensor
    down: Tensor


class Group(NamedTuple):
    """Sequences of a step that attend alike: one prefill chunk, or all decodes.

    Attributes
    ----------
    batch, new : sequences, and tokens that each brings.
    keys, values : [batch, kv_heads, cached + new, head_dim], room for the new ones at the end.
    cosine, sine : of the positions of the new tokens.
    mask : see `Device.causal_mask`; of decodes, what of the padded keys each may see.
    """

    batch: int
    new: int
    keys: Tensor
    values: Tensor
    cosine: Tensor
    sine: Tensor
    mask: Tensor | None


class Layers:
    """Copies of the layer whose weights are taken in turn, so that no cache holds them all.

    Parameters
    ----------
    device : where.
    shape : of the model.
    dtype : of weights, activations and KV.
    copies : sets of weights.
    seed : of the random numbers.
    """

    def __init__(self, device: Device, shape: ModelShape, dtype: torch.dtype, copies: int, seed: int) -> None:
        self.device, self.shape, self.dtype = device, shape, dtype
        self._random = torch.Generator(device.torch_device).manual_seed(seed)
        self.weights = [self._drawn() for _ in range(copies)]
        self._next = cycle(self.weights)

    def randn(self, *size: int) -> Tensor:
        """Return random numbers of the layer's type."""
        return torch.randn(size, generator=self._random, device=self.device.torch_device, dtype=torch.float32).to(
            self.dtype
        )

    def _drawn(self) -> Weights:
        of = self.shape
        query, key = of.heads * of.head_dim, of.kv_heads * of.head_dim
        return Weights(
            norm_in=self.randn(of.hidden),
            qkv=self.randn(query + 2 * key, of.hidden) * _SCALE,
            bias=self.randn(query + 2 * key) if of.qkv_bias else None,
            out=self.randn(of.hidden, query) * _SCALE,
            norm_mlp=self.randn(of.hidden),
            gate_up=self.randn(2 * of.intermediate, of.hidden) * _SCALE,
            down=self.randn(of.hidden, of.intermediate) * _SCALE,
        )

    # -- what attends ----------------------------------------------------------------------------------------------

    def chunk(self, new: int, cached: int) -> Group:
        """Return a prefill chunk of new tokens after cached ones."""
        mask = self.device.causal_mask(new, cached, self.dtype)
        return self._group(1, new, cached, mask)

    def decodes(self, batch: int, context: int) -> Group:
        """Return decodes that read a context each, beside their own token."""
        return self._group(batch, 1, context, None)

    def unequal(self, batch: int, mean: int, longest: int) -> Group:
        """Return decodes padded to the longest: one reads all of it, the others what makes the mean."""
        others = max(1, (batch * mean - longest) // max(1, batch - 1))
        lengths = torch.tensor([longest, *[others] * (batch - 1)], device=self.device.torch_device)
        seen = torch.arange(longest + 1, device=self.device.torch_device)[None] < lengths[:, None]
        seen[:, -1] = True
        return self._group(batch, 1, longest, seen[:, None, None])

    def _group(self, batch: int, new: int, cached: int, mask: Tensor | None) -> Group:
        of, total = self.shape, cached + new
        keys, values = (self.randn(batch, of.kv_heads, total, of.head_dim) for _ in range(2))
        place = torch.arange(cached, total, device=self.device.torch_device, dtype=torch.float32)
        powers = torch.arange(0, of.head_dim, 2, device=self.device.torch_device, dtype=torch.float32) / of.head_dim
        angles = torch.outer(place, _ROPE_BASE**-powers).repeat(1, 2)
        return Group(batch, new, keys, values, angles.cos().to(self.dtype), angles.sin().to(self.dtype), mask)

    # -- what a layer does -----------------------------------------------------------------------------------------

    def call(self, *groups: Group) -> Call:
        """Return the call of one layer over the tokens of all groups; each call takes the next weights."""
        tokens = sum(group.batch * group.new for group in groups)
        hidden = self.randn(tokens, self.shape.hidden)
        return lambda: self.forward(hidden, groups, next(self._next))

    def forward(self, hidden: Tensor, groups: tuple[Group, ...], weights: Weights) -> Tensor:
        """Return what a layer makes of the tokens of a step; the KV of new tokens is written behind the cached."""
        of = self.shape
        normed = rms_norm(hidden, (of.hidden,), weights.norm_in, 1e-6)
        qkv = linear(normed, weights.qkv, weights.bias)
        parts, done = [], 0
        for group in groups:
            count = group.batch * group.new
            parts.append(self._attended(qkv[done : done + count], group))
            done += count
        attended = parts[0] if len(parts) == 1 else torch.cat(parts)
        hidden = hidden + linear(attended, weights.out)
        gate, up = linear(rms_norm(hidden, (of.hidden,), weights.norm_mlp, 1e-6), weights.gate_up).chunk(2, -1)
        return hidden + linear(silu(gate) * up, weights.down)

    def _attended(self, qkv: Tensor, group: Group) -> Tensor:
        of = self.shape
        heads = qkv.view(group.batch, group.new, of.heads + 2 * of.kv_heads, of.head_dim).transpose(1, 2)
        query, key, value = heads.split((of.heads, of.kv_heads, of.kv_heads), 1)
        query, key = (_rotated(part, group) for part in (query, key))
        group.keys[:, :, -group.new :] = key
        group.values[:, :, -group.new :] = value
        if group.new > 1:
            found = self.device.causal(query, group.keys, group.values, group.mask)
        else:  # one query: those that share a KV head are rows of one product
            rows = query.reshape(group.batch, of.kv_heads, of.heads // of.kv_heads, of.head_dim)
            found = scaled_dot_product_attention(rows, group.keys, group.values, group.mask)
            found = found.reshape(group.batch, of.heads, 1, of.head_dim)
        return found.transpose(1, 2).reshape(group.batch * group.new, of.heads * of.head_dim)


def _rotated(part: Tensor, group: Group) -> Tensor:
    low, high = part.chunk(2, -1)
    return part * group.cosine + torch.cat((-high, low), -1) * group.sine
