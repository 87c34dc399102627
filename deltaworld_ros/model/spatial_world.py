# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""DINO-world: the predictor over the patch tokens of whole frames (paper, section 3.1)."""

import torch
from torch import Tensor, nn

from deltaworld_ros.model.predictor import Predictor
from deltaworld_ros.model.registry import register
from deltaworld_ros.model.rotary import time_frequencies, time_table

Table = tuple[Tensor, Tensor]
AXES = 3


def axial_table(times: Tensor, grid: tuple[int, int], frequencies: int) -> Table:
    """
    Return the tables of the 3-D rotation of every patch of every frame, each (B, F N, 3 n).

    Times (B, F) are float64 seconds, re-based to a recent frame; the grid is (rows, columns).
    The tables hold n = `frequencies` columns for time, then for x, then for y, all from 100 to
    0.01 turns a unit (paper, appendix A; release, `models/dinoworld.py`).
    """
    return with_places(time_table(times, time_frequencies(frequencies)), grid)


def with_places(table: Table, grid: tuple[int, int]) -> Table:
    """
    Join time tables (B, F, n) with those of x and y of every patch: each (B, F N, 3 n).

    The places run from -1 to 1 with the outer patches exactly there, unlike the patch centres of
    the backbone.
    """
    rows, columns = grid
    y, x = torch.meshgrid(
        torch.linspace(-1.0, 1.0, rows, dtype=torch.float64),
        torch.linspace(-1.0, 1.0, columns, dtype=torch.float64), indexing='ij')
    when, turns = table, time_frequencies(table[0].shape[-1])
    where = [
        time_table(axis.flatten().to(when[0].device), turns) for axis in (x, y)]
    cos, sin = (
        torch.cat([
            when[part][:, :, None].expand(-1, -1, rows * columns, -1),
            torch.cat([axis[part] for axis in where], dim=-1).expand(
                *when[part].shape[:2], -1, -1),
        ], dim=-1).flatten(1, 2)
        for part in (0, 1))
    return cos, sin


def block_causal_mask(frames: int, patches: int) -> Tensor:
    """
    Return which patches each query may see, bool (frames patches, frames patches).

    Row block t holds the queries of frame t + 1, column block t the keys of frame t.
    """
    return torch.ones(frames, frames).tril().bool().repeat_interleave(
        patches, 0).repeat_interleave(patches, 1)


@register('world', 'spatial')
class SpatialWorld(nn.Module):
    """
    Predict every patch token of the next frame from all patch tokens of the frames before.

    One query, the same at all patches, attends to the past frames: a learned one (paper,
    equation 1) or, with `learned_query` off, noise for best-of-many (equation 3). Of each head
    of 64 values, the first 20 turn with time, 20 with x, 20 with y and 4 with nothing; other head
    sizes give each axis twice a sixth of the head, rounded down.
    """

    def __init__(
        self, size: int = 768, heads: int = 12, layers: int = 12, mlp_size: int = 3072,
        feature_size: int | None = None, learned_query: bool = True, layer_scale: float = 1e-5,
    ):
        """Take the paper's ViT-B sizes unless others are given."""
        super().__init__()
        self.noise_size = size
        self.frequencies = size // heads // 6
        self.feature_size = size if feature_size is None else feature_size
        self.predictor = Predictor(
            size, heads, layers, mlp_size, self.feature_size, layer_scale, AXES)
        if learned_query:
            self.q_embed = nn.Embedding(1, size)
            nn.init.normal_(self.q_embed.weight, std=0.02)
        self.learned_query = learned_query

    def keys_values(self, features: Tensor, table: Table) -> list[tuple[Tensor, Tensor]]:
        """Project frames (B, F, N, D) to each block's keys and values (B, heads, F N, h)."""
        tokens = features.flatten(1, 2)
        return [
            block.attention.keys_values(tokens, table) for block in self.predictor.layers()]

    def predict(
        self, context: list[tuple[Tensor, Tensor]], queries: Tensor, table: Table,
        mask: Tensor | None = None,
    ) -> Tensor:
        """
        Predict the frames of the queries (B, F, size) as features (B, F, N, D).

        The table (B, F N, R) says when and where each patch is predicted, the mask (F N, keys)
        which patches of the context it may see.
        """
        batch, frames = queries.shape[:2]
        patches = table[0].shape[1] // frames
        if self.learned_query:
            queries = queries * 0.0 + self.q_embed.weight[0]
        x = queries[:, :, None].expand(-1, -1, patches, -1).flatten(1, 2)
        for block, (keys, values) in zip(self.predictor.layers(), context, strict=True):
            x = block(x, keys, values, table, mask)
        return self.predictor.head(self.predictor.norm(x)).unflatten(1, (frames, patches))

    def forward(
        self, features: Tensor, times: Tensor, queries: Tensor, grid: tuple[int, int],
    ) -> Tensor:
        """
        Predict frames 2 to F, each from the true frames before it (teacher forcing).

        Features (B, F, N, D), times (B, F), and one query for each predicted frame
        (B, F - 1, size). Returns (B, F - 1, N, D).
        """
        patches = features.shape[2]
        cos, sin = axial_table(times, grid, self.frequencies)
        context = self.keys_values(features[:, :-1], (cos[:, :-patches], sin[:, :-patches]))
        mask = block_causal_mask(features.shape[1] - 1, patches).to(features.device)
        return self.predict(context, queries, (cos[:, patches:], sin[:, patches:]), mask)

    def rollout(
        self, features: Tensor, times: Tensor, noise: Tensor, grid: tuple[int, int],
    ) -> Tensor:
        """
        Roll every sample out: each appends its own predicted frame to its context.

        Context features (B, T, N, D), times (B, T + S) of context and future, noise queries
        (B, M, S, size). Returns the samples' features (B, M, S, N, D).
        """
        return self.roll(features, axial_table(times, grid, self.frequencies), noise)

    def roll(self, features: Tensor, table: Table, noise: Tensor) -> Tensor:
        """
        Roll every sample out with the axial table (B, (T + S) N, R); see `rollout`.

        The context's keys and values are projected once for all samples and steps.
        """
        batch, samples, steps = noise.shape[:3]
        length, patches = features.shape[1:3]
        cos, sin = table

        def part_of(first: int, count: int, repeats: int) -> Table:
            part = slice(first * patches, (first + count) * patches)
            return (
                cos[:, part].repeat_interleave(repeats, 0),
                sin[:, part].repeat_interleave(repeats, 0))

        context = [
            (keys.repeat_interleave(samples, 0), values.repeat_interleave(samples, 0))
            for keys, values in self.keys_values(features, part_of(0, length, 1))
        ]
        queries = noise.flatten(0, 1)
        futures: list[Tensor] = []
        for step in range(steps):
            if futures:
                own = self.keys_values(futures[-1], part_of(length + step - 1, 1, samples))
                context = [
                    (torch.cat([keys, own_keys], 2), torch.cat([values, own_values], 2))
                    for (keys, values), (own_keys, own_values) in zip(context, own, strict=True)
                ]
            now = part_of(length + step, 1, samples)
            futures.append(self.predict(context, queries[:, step:step + 1], now))
        return torch.cat(futures, dim=1).unflatten(0, (batch, samples))
