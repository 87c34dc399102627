# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A small delta tokenizer for small budgets, beside the paper's DeltaTok.

It keeps the paper's contract, encode(previous, current) -> one token and decode(token, previous)
-> current, and deviates in four ways that let a model of a few million parameters learn in
minutes on two cores:

- The token is the sum of a frozen linear code of the change (a PCA of the pooled difference of
  the features) and of a learned residual code.
- The encoder joins both frames at each patch instead of in one long sequence; patches are 2 x 2
  features.
- The decoder starts from the previous features plus the linearly decoded change and learns the
  rest; the token is added to every patch instead of standing in the sequence.
- The anchor token (a frame against the black frame) is a linear code with a basis of its own,
  scaled like a delta token.
"""

import torch
from torch import Tensor, nn

from deltaworld_ros.model.blocks import NORM_EPSILON, SelfAttentionBlock
from deltaworld_ros.model.patch_grid import CELLS, PatchGrid
from deltaworld_ros.model.registry import register


class LinearCode(nn.Module):
    """A frozen linear code of pooled feature maps: token = scale * basis @ (pooled - mean)."""

    channel_basis: Tensor
    mean: Tensor
    basis: Tensor
    scale: Tensor

    def __init__(self, patches: int, feature_size: int, channels: int, token_size: int):
        """Create the buffers, which `fit` in training fills."""
        super().__init__()
        self.register_buffer('channel_basis', torch.zeros(feature_size, channels))
        self.register_buffer('mean', torch.zeros(patches * channels))
        self.register_buffer('basis', torch.zeros(patches * channels, token_size))
        self.register_buffer('scale', torch.ones(()))

    def reduce(self, pooled: Tensor) -> Tensor:
        """Map pooled maps (B, P, D) to the vectors (B, P * channels) that are coded."""
        return (pooled @ self.channel_basis).flatten(1)

    def encode(self, pooled: Tensor) -> Tensor:
        """Code pooled maps (B, P, D) as (B, token size)."""
        return (self.reduce(pooled) - self.mean) @ self.basis * self.scale

    def decode(self, code: Tensor) -> Tensor:
        """Return the pooled, channel-reduced maps (B, P, channels) of codes (B, token size)."""
        vector = (code / self.scale) @ self.basis.T + self.mean
        return vector.unflatten(1, (-1, self.channel_basis.shape[1]))


@register('tokenizer', 'compact')
class CompactDeltaTok(nn.Module):
    """The compact tokenizer for one fixed grid of features."""

    def __init__(
        self, feature_size: int, grid: tuple[int, int], token_size: int, size: int, heads: int,
        encoder_layers: int, decoder_layers: int, mlp_size: int, code_channels: int,
        layer_scale: float = 0.1,
    ):
        """Take the sizes; the grid (rows, columns) must be even both ways."""
        super().__init__()
        self.feature_size = feature_size
        self.token_size = token_size
        self.head_size = size // heads
        self.grid = (grid[0], grid[1])
        self.patches = PatchGrid(grid)
        joined = feature_size * CELLS
        self.delta_code = LinearCode(self.patches.count, feature_size, code_channels, token_size)
        self.anchor_code = LinearCode(self.patches.count, feature_size, code_channels, token_size)

        def blocks(count: int) -> nn.ModuleList:
            return nn.ModuleList(
                SelfAttentionBlock(size, heads, mlp_size, False, layer_scale)
                for _ in range(count)
            )
        self.z_embed = nn.Parameter(torch.zeros(1, 1, size))
        self.encoder_input = nn.Linear(2 * joined, size)
        self.encoder_blocks = blocks(encoder_layers)
        self.encoder_norm = nn.LayerNorm(size, NORM_EPSILON)
        self.encoder_output = nn.Linear(size, token_size)
        self.decoder_input = nn.Linear(joined + code_channels, size)
        self.decoder_token = nn.Linear(token_size, size)
        self.decoder_blocks = blocks(decoder_layers)
        self.decoder_norm = nn.LayerNorm(size, NORM_EPSILON)
        self.decoder_output = nn.Linear(size, joined)
        # The model starts as the linear code: both learned residuals begin at zero.
        for layer in (self.encoder_output, self.decoder_output):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def encode(self, previous: Tensor, current: Tensor) -> Tensor:
        """Encode features (B, N, D) of two frames as delta tokens (B, token size)."""
        before, after = self.patches.join(previous), self.patches.join(current)
        x = self.encoder_input(torch.cat([before, after], dim=2).flatten(2))
        x = torch.cat([self.z_embed.expand(x.shape[0], 1, -1), x], dim=1)
        table = self.patches.table(self.head_size, x.device)
        for block in self.encoder_blocks:
            x = block(x, table)
        residual = self.encoder_output(self.encoder_norm(x[:, 0]))
        return self.delta_code.encode((after - before).mean(2)) + residual

    def encode_anchor(self, current: Tensor) -> Tensor:
        """Encode features (B, N, D) against the black frame as anchor tokens (B, token size)."""
        return self.anchor_code.encode(self.patches.join(current).mean(2))

    def encode_with_anchor(self, previous: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
        """Encode features (B, N, D) as delta and as anchor tokens, each (B, token size)."""
        return self.encode(previous, current), self.encode_anchor(current)

    def decode(self, token: Tensor, previous: Tensor) -> Tensor:
        """Decode tokens (B, token size) on the previous features (B, N, D)."""
        before = self.patches.join(previous)
        field = self.delta_code.decode(token)
        x = self.decoder_input(torch.cat([before.flatten(2), field], dim=-1))
        x = x + self.decoder_token(token)[:, None]
        table = self.patches.table(self.head_size, x.device)
        for block in self.decoder_blocks:
            x = block(x, table)
        residual = self.decoder_output(self.decoder_norm(x)).unflatten(2, (CELLS, -1))
        linear = (field @ self.delta_code.channel_basis.T)[:, :, None]
        return self.patches.part(before + linear + residual)
