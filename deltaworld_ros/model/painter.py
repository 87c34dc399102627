# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Features to pictures: the decoder of Representation Autoencoders (paper, figures D and F)."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deltaworld_ros.model.blocks import attention
from deltaworld_ros.model.dinov3 import IMAGENET_MEAN, IMAGENET_STD, PATCH
from deltaworld_ros.model.registry import register

NORM_EPSILON = 1e-12
HEADS = 16   # of the released decoder; no tensor tells


class PaintAttention(nn.Module):
    """Self-attention with separate projections, under the names of the released weights."""

    def __init__(self, size: int, heads: int):
        """Create the projections."""
        super().__init__()
        self.heads = heads
        self.attention = nn.ModuleDict({
            name: nn.Linear(size, size) for name in ('query', 'key', 'value')})
        self.output = nn.ModuleDict({'dense': nn.Linear(size, size)})

    def forward(self, x: Tensor) -> Tensor:
        """Attend over (B, L, size)."""
        query, key, value = (
            self.attention[name](x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for name in ('query', 'key', 'value'))
        return cast(Tensor, self.output['dense'](
            attention(query, key, value).transpose(1, 2).flatten(2)))


class PaintBlock(nn.Module):
    """Pre-norm transformer block without layer scale, as that of masked autoencoders."""

    def __init__(self, size: int, heads: int, mlp_size: int):
        """Create the layers."""
        super().__init__()
        self.attention = PaintAttention(size, heads)
        self.layernorm_before = nn.LayerNorm(size, NORM_EPSILON)
        self.layernorm_after = nn.LayerNorm(size, NORM_EPSILON)
        self.intermediate = nn.ModuleDict({'dense': nn.Linear(size, mlp_size)})
        self.output = nn.ModuleDict({'dense': nn.Linear(mlp_size, size)})

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, size) to (B, L, size)."""
        x = x + self.attention(self.layernorm_before(x))
        return x + self.output['dense'](F.gelu(self.intermediate['dense'](
            self.layernorm_after(x))))


@register('painter', 'vit')
class Painter(nn.Module):
    """
    A vision transformer from patch features to the pixels of their patches.

    The released one was trained on features before the affine part of the backbone's last norm,
    so `fit` takes that out again. Positions are learned for one grid and resized to others.
    """

    FLOAT32_LAYERS = ('decoder_embed', 'decoder_norm', 'decoder_pred')
    positions: Tensor
    norm_weight: Tensor
    norm_bias: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self, feature_size: int = 768, size: int = 1152, layers: int = 28, mlp_size: int = 4096,
        grid: tuple[int, int] = (32, 32), heads: int = HEADS, after_norm: bool = False,
    ):
        """
        Take the sizes of the release unless others are given.

        grid: rows and columns that it is trained on; after_norm: features come as the backbone
        gives them.
        """
        super().__init__()
        self.feature_size = feature_size
        self.decoder_embed = nn.Linear(feature_size, size)
        self.trainable_cls_token = nn.Parameter(torch.zeros(1, 1, size))
        self.own_grid = (grid[0], grid[1])
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, 1 + grid[0] * grid[1], size))
        self.decoder_layers = nn.ModuleList(
            PaintBlock(size, heads, mlp_size) for _ in range(layers))
        self.decoder_norm = nn.LayerNorm(size, NORM_EPSILON)
        self.decoder_pred = nn.Linear(size, PATCH * PATCH * 3)
        self.grid = self.own_grid
        self.after_norm = after_norm
        for name, value in (
                ('positions', torch.zeros(1, 0, size)),
                ('norm_weight', torch.ones(feature_size)),
                ('norm_bias', torch.zeros(feature_size)),
                ('mean', torch.tensor(IMAGENET_MEAN)), ('std', torch.tensor(IMAGENET_STD))):
            self.register_buffer(name, value, persistent=False)

    @torch.no_grad()
    def fit(self, norm: nn.LayerNorm | None, grid: tuple[int, int]) -> None:
        """Take out the backbone's last norm, and resize the positions to a grid."""
        if norm is not None:
            self.norm_weight, self.norm_bias = norm.weight.detach(), norm.bias.detach()
        self.grid = grid
        places = self.decoder_pos_embed[:, 1:].unflatten(1, self.own_grid).permute(0, 3, 1, 2)
        if grid != self.own_grid:
            places = F.interpolate(places, grid, mode='bicubic')
        patches = places.flatten(2).transpose(1, 2)
        self.positions = torch.cat([self.decoder_pos_embed[:, :1], patches], dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """Paint features (B, N, D) of the grid as RGB (B, 16 rows, 16 columns, 3) in 0..1."""
        return self.pixels(features).clamp(0.0, 1.0)

    def pixels(self, features: Tensor) -> Tensor:
        """Paint as `forward` does, without cutting off what no screen shows."""
        x = self.decoder_embed((features - self.norm_bias) / self.norm_weight)
        first = self.trainable_cls_token.expand(x.shape[0], -1, -1)
        # Before `fit`, in training, they are the parameters themselves.
        positions = self.positions if self.positions.shape[1] else self.decoder_pos_embed
        x = torch.cat([first, x], dim=1) + positions
        for block in self.decoder_layers:
            x = block(x)
        pixels = self.decoder_pred(self.decoder_norm(x))[:, 1:]
        rows, columns = self.grid
        patches = pixels.unflatten(2, (PATCH, PATCH, 3)).unflatten(1, (rows, columns))
        picture = patches.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)
        return picture * self.std + self.mean
