# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Transformer blocks of DINOv3, the released tokenizer and the predictor."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deltaworld_ros.model.rotary import rotate, rotate_leading

NORM_EPSILON = 1e-5


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """
    Attend with heads first: (..., Q, h), (..., K, h), (..., K, h) -> (..., Q, h).

    The scale is applied to the query, before the product, and the softmax is float32: products
    of unscaled half-precision values overflow on some inference engines.
    """
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    return scores.float().softmax(dim=-1).to(value.dtype) @ value


def attention_with_own(
    query: Tensor, key: Tensor, value: Tensor, own: Sequence[tuple[Tensor, Tensor]],
) -> Tensor:
    """
    Attend to common keys and to keys that belong to one query each.

    Equals attention over the joined keys, without a copy of the common keys for each query:
    query (..., Q, h), key and value (..., K, h), each of `own` a pair (..., Q, h).
    """
    query = query * query.shape[-1] ** -0.5
    scores = torch.cat(
        [query @ key.transpose(-1, -2)]
        + [(query * own_key).sum(-1, keepdim=True) for own_key, _ in own], dim=-1)
    weights = scores.float().softmax(dim=-1).to(value.dtype)
    common = key.shape[-2]
    out = weights[..., :common] @ value
    for index, (_, own_value) in enumerate(own):
        out = out + weights[..., common + index:common + index + 1] * own_value
    return out


class LayerScale(nn.Module):
    """Scale a residual branch by one learned factor for each channel."""

    def __init__(self, size: int, initial: float = 1e-5):
        """Start every factor at `initial` (1e-5 in the paper)."""
        super().__init__()
        self.lambda1 = nn.Parameter(torch.full((size,), initial))

    def forward(self, x: Tensor) -> Tensor:
        """Scale (..., size)."""
        return x * self.lambda1


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, size: int, hidden: int):
        """Create the layers."""
        super().__init__()
        self.up_proj = nn.Linear(size, hidden)
        self.down_proj = nn.Linear(hidden, size)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., size) to (..., size)."""
        return self.down_proj(F.gelu(self.up_proj(x)))


class SwiGlu(nn.Module):
    """A gated MLP: SiLU of one projection times another."""

    def __init__(self, size: int, hidden: int):
        """Create the layers; the release takes two thirds of the plain MLP's hidden size."""
        super().__init__()
        self.gate_proj = nn.Linear(size, hidden)
        self.up_proj = nn.Linear(size, hidden)
        self.down_proj = nn.Linear(hidden, size)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., size) to (..., size)."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class SelfAttention(nn.Module):
    """
    Self-attention with a rotary table on the last tokens of the sequence.

    `gated` adds what the release adds to DINOv3: LayerNorm without bias on queries and keys
    *after* the rotation, and one sigmoid gate a head, from the input, on the heads' outputs.
    """

    def __init__(self, size: int, heads: int, gated: bool):
        """Create the projections; the key's has no bias, as in DINOv3."""
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(size, size, bias=False)
        self.v_proj = nn.Linear(size, size)
        self.q_proj = nn.Linear(size, size)
        self.o_proj = nn.Linear(size, size)
        self.gated = gated
        if gated:
            head_size = size // heads
            self.q_norm = nn.LayerNorm(head_size, NORM_EPSILON, bias=False)
            self.k_norm = nn.LayerNorm(head_size, NORM_EPSILON, bias=False)
            self.attn_gate = nn.Linear(size, heads)

    def forward(self, x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
        """Attend over (B, L, size); the table (P, head) turns the last P tokens."""
        batch, length, size = x.shape
        query, key, value = (
            projection(x).view(batch, length, self.heads, size // self.heads).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        plain = length - table[0].shape[0]
        query, key = (
            torch.cat([t[:, :, :plain], rotate(t[:, :, plain:], *table)], dim=2)
            for t in (query, key)
        )
        if self.gated:
            query, key = self.q_norm(query), self.k_norm(key)
        out = attention(query.to(value.dtype), key.to(value.dtype), value).transpose(1, 2)
        if self.gated:
            out = out * self.attn_gate(x).sigmoid()[..., None]
        return self.o_proj(out.reshape(batch, length, size))


class SelfAttentionBlock(nn.Module):
    """Pre-norm transformer block: DINOv3's, or the released tokenizer's when `gated`."""

    def __init__(
        self, size: int, heads: int, mlp_size: int, gated: bool, layer_scale: float = 1e-5,
    ):
        """Take the plain MLP's width, or the SwiGLU's when `gated`."""
        super().__init__()
        self.norm1 = nn.LayerNorm(size, NORM_EPSILON)
        self.attention = SelfAttention(size, heads, gated)
        self.layer_scale1 = LayerScale(size, layer_scale)
        self.norm2 = nn.LayerNorm(size, NORM_EPSILON)
        self.mlp = SwiGlu(size, mlp_size) if gated else Mlp(size, mlp_size)
        self.layer_scale2 = LayerScale(size, layer_scale)

    def forward(self, x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
        """Map (B, L, size) to (B, L, size)."""
        x = x + self.layer_scale1(self.attention(self.norm1(x), table))
        return x + self.layer_scale2(self.mlp(self.norm2(x)))


class CrossAttention(nn.Module):
    """Queries attend to context tokens of another size; both are turned by their places."""

    def __init__(self, size: int, heads: int, context_size: int, axes: int = 1):
        """
        Create the projections; keys and values come straight from the context tokens.

        `axes` is the number of coordinates of a place: 1 for times, 3 with rows and columns.
        """
        super().__init__()
        self.heads = heads
        self.axes = axes
        self.q_proj = nn.Linear(size, size)
        self.kv_proj = nn.Linear(context_size, 2 * size)
        self.out_proj = nn.Linear(size, size)

    def keys_values(self, context: Tensor, table: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Project (..., L, context size) to turned keys and values, each (..., heads, L, h)."""
        key, value = self.kv_proj(context).chunk(2, dim=-1)
        key, value = self._split(key), self._split(value)
        cos, sin = (t.unsqueeze(-3) for t in table)
        return rotate_leading(key, cos, sin, self.axes), value

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, table: tuple[Tensor, Tensor],
        mask: Tensor | None = None, own: Sequence[tuple[Tensor, Tensor]] = (),
    ) -> Tensor:
        """
        Attend from (..., Q, size), turned by the table (..., Q, R), to the keys.

        `own` are further keys and values, each (..., heads, Q, h), that only the query of the
        same place sees; `mask` (Q, L) says which of the common keys each query may see.
        """
        query = self._split(self.q_proj(x))
        cos, sin = (t.unsqueeze(-3) for t in table)
        query = rotate_leading(query, cos, sin, self.axes)
        if mask is not None:
            out = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        elif own:
            out = attention_with_own(query, keys, values, own)
        else:
            out = attention(query, keys, values)
        return self.out_proj(out.transpose(-2, -3).flatten(-2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)


class CrossAttentionBlock(nn.Module):
    """The predictor's block: cross-attention only, with the norm on the queries only."""

    def __init__(
        self, size: int, heads: int, mlp_size: int, context_size: int, layer_scale: float = 1e-5,
        axes: int = 1,
    ):
        """Create the layers; see CrossAttention for `axes`."""
        super().__init__()
        self.norm1 = nn.LayerNorm(size, NORM_EPSILON)
        self.attention = CrossAttention(size, heads, context_size, axes)
        self.layer_scale1 = LayerScale(size, layer_scale)
        self.norm2 = nn.LayerNorm(size, NORM_EPSILON)
        self.mlp = Mlp(size, mlp_size)
        self.layer_scale2 = LayerScale(size, layer_scale)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, table: tuple[Tensor, Tensor],
        mask: Tensor | None = None, own: Sequence[tuple[Tensor, Tensor]] = (),
    ) -> Tensor:
        """Map queries (..., Q, size) to (..., Q, size); see CrossAttention."""
        attended = self.attention(self.norm1(x), keys, values, table, mask, own)
        x = x + self.layer_scale1(attended)
        return x + self.layer_scale2(self.mlp(self.norm2(x)))
