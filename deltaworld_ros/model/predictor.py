# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""DeltaWorld: the generative predictor over delta tokens (paper, sections 3.2 and 3.4)."""

from typing import cast

import torch
from torch import Tensor, nn

from deltaworld_ros.model.blocks import NORM_EPSILON, CrossAttentionBlock
from deltaworld_ros.model.registry import register

Table = tuple[Tensor, Tensor]
FREQUENCIES = 30   # of time, as released
# Bring a speed in m/s and a yaw rate in rad/s to the size of other inputs.
SPEED_SCALE, YAW_RATE_SCALE = 0.1, 2.0
MOTION = 3   # speed, yaw rate, and 1 where they are known


class Predictor(nn.Module):
    """Blocks of cross-attention from queries to the context's tokens, then a linear head."""

    FLOAT32_LAYERS = ('norm', 'head')

    def __init__(
        self, size: int, heads: int, layers: int, mlp_size: int, token_size: int,
        layer_scale: float = 1e-5, axes: int = 1,
    ):
        """Take the queries' and the tokens' sizes; they are equal in the paper."""
        super().__init__()
        self.blocks = nn.ModuleList(
            CrossAttentionBlock(size, heads, mlp_size, token_size, layer_scale, axes)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(size, NORM_EPSILON)
        self.head = nn.Linear(size, token_size)

    def layers(self) -> list[CrossAttentionBlock]:
        """Return the blocks with their type, which a module list does not keep."""
        return cast('list[CrossAttentionBlock]', list(self.blocks))


@register('world', 'deltaworld')
class DeltaWorld(nn.Module):
    """
    Predict the next delta token for each query (paper, equation 10).

    `learned_query` gives the discriminative model: one learned query instead of noise.
    Times enter only through rotary tables, which the caller computes in float64. With `motion`
    the robot's motion, past and planned, can be told.
    """

    motion_scales: Tensor

    def __init__(
        self, size: int = 768, heads: int = 12, layers: int = 12, mlp_size: int = 3072,
        token_size: int | None = None, learned_query: bool = False, layer_scale: float = 1e-5,
        motion: bool = False,
    ):
        """Take the released sizes unless others are given."""
        super().__init__()
        self.noise_size = size
        self.token_size = size if token_size is None else token_size
        self.frequencies = FREQUENCIES
        self.predictor = Predictor(size, heads, layers, mlp_size, self.token_size, layer_scale)
        if learned_query:
            self.q_embed = nn.Embedding(1, size)
            nn.init.normal_(self.q_embed.weight, std=0.02)
        self.learned_query = learned_query
        self.motion = motion
        if motion:
            # Without biases: what is not known changes nothing.
            self.token_motion = nn.Linear(MOTION, self.token_size, bias=False)
            self.query_motion = nn.Linear(MOTION, size, bias=False)
            self.register_buffer(
                'motion_scales', torch.tensor([SPEED_SCALE, YAW_RATE_SCALE, 1.0]),
                persistent=False)

    def forward(
        self, tokens: Tensor, token_table: Table, queries: Tensor, query_table: Table,
        mask: Tensor | None = None,
    ) -> Tensor:
        """
        Predict the tokens of the queries' times.

        Tokens (B, L, token size) with tables (B, L, R); queries (B, Q, size) with tables
        (B, Q, R); a boolean mask (Q, L) says which tokens each query may see. Returns
        (B, Q, token size).
        """
        if self.learned_query:
            queries = queries * 0.0 + self.q_embed.weight[0]
        for block in self.predictor.layers():
            keys, values = block.attention.keys_values(tokens, token_table)
            queries = block(queries, keys, values, query_table, mask)
        return self.predictor.head(self.predictor.norm(queries))

    def rollout(
        self, tokens: Tensor, table: Table, noise: Tensor, motion: Tensor | None = None,
    ) -> Tensor:
        """
        Roll every sample out: each appends its own predicted token and sees it from then on.

        Context tokens (B, T, token size); table of the T context and S future times, each
        (B, T + S, R); noise (B, M, S, size). Returns future tokens (B, M, S, token size). The
        context's keys and values are projected once for all samples and steps. `motion`
        (B, T + S, 3), which a world with `motion` takes, are the robot's mean speed in m/s and
        yaw rate in rad/s over the step that ends at each time, and 1 where they are known, or
        three zeros.
        """
        cos, sin = table
        context, steps = tokens.shape[1], noise.shape[2]
        blocks = self.predictor.layers()
        moved, asked = self._motion_inputs(motion)
        told = tokens if moved is None else tokens + moved[:, :context]
        shared = [
            block.attention.keys_values(told, (cos[:, :context], sin[:, :context]))
            for block in blocks
        ]
        own: list[list[tuple[Tensor, Tensor]]] = [[] for _ in blocks]
        futures: list[Tensor] = []
        for step in range(steps):
            now = context + step
            if futures:
                before = (cos[:, now - 1:now], sin[:, now - 1:now])
                told = futures[-1] if moved is None else futures[-1] + moved[:, now - 1:now]
                for block, kept in zip(blocks, own, strict=True):
                    kept.append(block.attention.keys_values(told, before))
            last = futures[-1] if futures else tokens[:, None, -1]
            queries = self.start(noise[:, :, step], last)
            if asked is not None:
                queries = queries + asked[:, now:now + 1]
            query_table = (cos[:, now:now + 1], sin[:, now:now + 1])
            for block, (keys, values), kept in zip(blocks, shared, own, strict=True):
                queries = block(queries, keys, values, query_table, own=kept)
            futures.append(self.finish(queries, last))
        return torch.stack(futures, dim=2)

    def _motion_inputs(self, motion: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Return what motion (B, L, 3) adds to tokens (B, L, token size) and to queries."""
        if motion is None:
            return None, None
        scaled = motion * self.motion_scales
        return self.token_motion(scaled), self.query_motion(scaled)

    def start(self, noise: Tensor, last: Tensor) -> Tensor:
        """Return the first block's queries of noise (B, M, size) after tokens (B, M or 1, Dz)."""
        return noise * 0.0 + self.q_embed.weight[0] if self.learned_query else noise

    def finish(self, queries: Tensor, last: Tensor) -> Tensor:
        """Return the tokens of the last block's queries (B, M, size) after tokens `last`."""
        return self.predictor.head(self.predictor.norm(queries))
