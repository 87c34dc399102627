# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The masked transformer of DINO-Foresight (arXiv 2412.11673), for patches or for one token."""

import torch
from torch import Tensor, nn

from deltaworld_ros.model.blocks import Mlp, attention
from deltaworld_ros.model.registry import register
from deltaworld_ros.model.rotary import time_frequencies, time_table

Table = tuple[Tensor, Tensor]
FREQUENCIES = 30
POSITION_STD = 0.02


class PlainAttention(nn.Module):
    """Pre-norm self-attention without positions of its own."""

    def __init__(self, size: int, heads: int):
        """Create the projections."""
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(size)
        self.qkv = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over (..., L, size)."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(-2, -3)
            for part in self.qkv(self.norm(x)).chunk(3, dim=-1))
        attended: Tensor = self.out(attention(query, key, value).transpose(-2, -3).flatten(-2))
        return attended


class ForesightBlock(nn.Module):
    """Attention over time at each patch, over the patches of each frame, and an MLP."""

    def __init__(self, size: int, heads: int, mlp_size: int, patches: int):
        """Create the layers; a single patch has nothing to attend to but time."""
        super().__init__()
        self.temporal = PlainAttention(size, heads)
        self.spatial = PlainAttention(size, heads) if patches > 1 else None
        self.norm = nn.LayerNorm(size)
        self.mlp = Mlp(size, mlp_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, F, N, size) to (B, F, N, size)."""
        x = x + self.temporal(x.transpose(1, 2)).transpose(1, 2)
        if self.spatial is not None:
            x = x + self.spatial(x)
        return x + self.mlp(self.norm(x))


@register('world', 'foresight')
class ForesightWorld(nn.Module):
    """
    Predict the masked last frame of a window from the frames before it, as one future.

    Every frame is its patches' features (paper, Table D: DINO-Foresight), or one delta token, for
    which the attention is plain self-attention over the frames. Patches have learned places.
    Times are given, in place of the learned frame numbers of the original, which knows one frame
    rate: a linear map of their sines and cosines.
    """

    learned_query = True   # one future, as the other discriminative worlds
    noise_size = 1

    def __init__(
        self, size: int = 1152, heads: int = 8, layers: int = 12, mlp_size: int = 4608,
        feature_size: int = 1152, grid: tuple[int, int] = (32, 64), frames: int = 5,
    ):
        """Take the sizes of DINO-Foresight unless others are given; a grid (1, 1) is a token."""
        super().__init__()
        rows, columns = grid
        third = size // 3
        self.frames = frames
        self.frequencies = FREQUENCIES
        self.embed = nn.Linear(feature_size, size)
        self.masked = nn.Parameter(torch.empty(size).normal_(std=POSITION_STD))
        self.when = nn.Linear(2 * FREQUENCIES, size - 2 * third)
        self.rows = nn.Parameter(torch.empty(rows, third))
        self.columns = nn.Parameter(torch.empty(columns, third))
        for places in (self.rows, self.columns):
            nn.init.trunc_normal_(places, std=POSITION_STD)
        self.blocks = nn.ModuleList(
            ForesightBlock(size, heads, mlp_size, rows * columns) for _ in range(layers))
        self.head = nn.Linear(size, feature_size)
        nn.init.zeros_(self.head.weight)

    def forward(self, known: Tensor, table: Table) -> Tensor:
        """
        Predict the frame after the known ones (B, F - 1, N, D) as features (B, N, D).

        The table (B, F, R) holds cosines and sines of the times of all F frames.
        """
        batch, patches = len(known), known.shape[2]
        x = torch.cat([self.embed(known), self.masked.expand(batch, 1, patches, -1)], dim=1)
        when = self.when(torch.cat(table, dim=-1).to(x.dtype))[:, :, None]
        where = torch.cat([
            self.rows[:, None].expand(-1, len(self.columns), -1),
            self.columns[None].expand(len(self.rows), -1, -1)], dim=-1).flatten(0, 1)
        x = x + torch.cat([
            when.expand(-1, -1, patches, -1), where.expand(batch, x.shape[1], -1, -1)], dim=-1)
        for block in self.blocks:
            x = block(x)
        predicted: Tensor = self.head(x[:, -1])
        return predicted

    def rollout(self, known: Tensor, times: Tensor) -> Tensor:
        """
        Predict frame after frame, each from the newest `frames` - 1 before it, own ones too.

        Known frames (B, T, N, D), float64 times (B, T + S) of known and future ones in seconds.
        Returns (B, S, N, D).
        """
        frames = known
        while frames.shape[1] < times.shape[1]:
            end = frames.shape[1] + 1
            window = times[:, end - self.frames:end]
            following = self(frames[:, 1 - self.frames:], window_table(window))
            frames = torch.cat([frames, following[:, None]], dim=1)
        return frames[:, known.shape[1]:]


def window_table(times: Tensor) -> Table:
    """Return the table of a window's times (B, F), in seconds after its newest known frame."""
    return time_table(times - times[:, -2:-1], time_frequencies(FREQUENCIES))
