# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Train DINO-world, the predictor over patch tokens, with or without best-of-many."""

from typing import Any, Literal

import torch
from torch import Tensor

from deltaworld_ros.model.spatial_world import SpatialWorld, axial_table, block_causal_mask
from deltaworld_training.stages.best_of_many import best_query
from deltaworld_training.stages.losses import ELEMENTWISE
from deltaworld_training.stages.parts import Sizes
from deltaworld_training.stages.predictor import NOISE_STD, QUERIES
from deltaworld_training.stages.stage import Initialisation, Stage


class SpatialPredictorStage(Stage):
    """
    Predict every frame of a window from the true ones before it, under a block-causal mask.

    A world with a learned query is DINO-world (paper, section 3.1). With noise queries, each
    frame's best of K queries is the one whose whole predicted frame is closest to the true one
    (equation 4); the candidates run one at a time without gradients and the winners again with
    them.
    """

    world: SpatialWorld

    def __init__(
        self, grid: tuple[int, int], world: Sizes | None = None, candidates: int = 16,
        loss: Literal['mse', 'smooth_l1'] = 'smooth_l1', initialisation: Initialisation = 'paper',
        **options: Any,
    ):
        """Take the features' grid (rows, columns), the predictor's sizes and K."""
        super().__init__(**options)
        self.world = self.learn('world', world, initialisation)  # type: ignore[assignment]
        self.grid = (grid[0], grid[1])
        self.candidates = candidates
        self.loss = ELEMENTWISE[loss]

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Predict windows of frames (B, F, h, w, 3) or features (B, F, N, D)."""
        features = self.features(batch)
        times = batch['times'] - batch['times'][:, :1]
        true = features[:, 1:]
        queries = self.choose(features, times)
        loss = self.loss(self.world(features, times, queries, self.grid).float(), true).mean()
        self.log('loss', loss, prog_bar=True)
        return loss

    @torch.no_grad()
    def choose(self, features: Tensor, times: Tensor) -> Tensor:
        """Return the winning query (B, F - 1, size) of each predicted frame."""
        size, frames, patches = features.shape[:3]
        width, steps = self.world.noise_size, frames - 1
        if self.world.learned_query:
            return features.new_zeros(size, steps, width)
        noise = self.noise(size, QUERIES)

        def draw(count: int) -> Tensor:
            return NOISE_STD * noise.normal(count, steps, width).transpose(1, 2)

        if self.candidates == 1:
            return draw(1)[:, :, 0]
        cos, sin = axial_table(times, self.grid, self.world.frequencies)
        before, now = (
            (cos[:, :-patches], sin[:, :-patches]), (cos[:, patches:], sin[:, patches:]))
        context = self.world.keys_values(features[:, :-1], before)
        mask = block_causal_mask(steps, patches).to(features.device)

        def errors(queries: Tensor) -> Tensor:
            predicted = self.world.predict(context, queries[:, :, 0], now, mask).float()
            return self.loss(predicted, features[:, 1:]).mean((2, 3))[:, :, None]

        return best_query(draw, errors, self.candidates, chunk=1)
