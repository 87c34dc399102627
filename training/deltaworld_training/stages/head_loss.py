# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How wrong the maps are that the frozen heads read from forecast features."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deltaworld_training.data.recordings import UNLABELLED
from deltaworld_training.stages.heads import as_maps, masked_cross_entropy
from deltaworld_training.stages.losses import masked
from deltaworld_training.stages.parts import frozen, load_part


class HeadLoss(nn.Module):
    """
    Cross-entropy of the classes and the mean error of log depth, on forecast features.

    The truth is what the frames were rendered with. Frames without labels are compared with what
    the heads read from their own true features, as `deltaworld evaluate` does on recordings.
    """

    class_weights: Tensor

    def __init__(self, heads: Path, grid: tuple[int, int]):
        """Take the file of the trained heads and the features' grid (rows, columns)."""
        super().__init__()
        self.segmentation: Any = frozen(load_part(heads, 'segmentation')[0])
        self.depth: Any = frozen(load_part(heads, 'depth')[0])
        self.grid = grid
        self.register_buffer(
            'class_weights', torch.ones(self.segmentation.head.out_channels), persistent=False)

    def train(self, mode: bool = True) -> 'HeadLoss':
        """Stay as the heads were trained: their batch norms must not follow the forecasts."""
        return super().train(False)

    def read(self, features: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Map features (n, N, D) to scores (n, classes, a, b) and depth (n, a, b)."""
        maps = as_maps(features.float(), self.grid)

        def resize(values: Tensor) -> Tensor:
            return F.interpolate(values, size=size, mode='bilinear')
        scores = resize(self.segmentation(maps).float())
        return scores, self.depth.resized(self.depth(maps), resize)[:, 0]

    @torch.no_grad()
    def truth(self, features: Tensor, labels: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        """
        Return the labels and depth (n, a, b) to compare with.

        Taken are the known ones, and those that the heads read from the true features (n, N, D)
        for frames without any label.
        """
        scores, read = self.read(features, (labels.shape[-2], labels.shape[-1]))
        unlabelled = (labels == UNLABELLED).flatten(1).all(1)[:, None, None]
        return (torch.where(unlabelled, scores.argmax(1), labels.long()),
                torch.where(unlabelled, read, depth.float()))

    def forward(
        self, features: Tensor, truth: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Compare features (n, N, D) with labels and depth (n, a, b): both losses, scalars."""
        labels, depth = truth
        scores, predicted = self.read(features, (labels.shape[-2], labels.shape[-1]))
        known = depth.isfinite() & (depth > 0.0) & (depth < self.depth.centres.max())
        return (masked_cross_entropy(scores, labels, self.class_weights),
                masked('scale_free', predicted, depth, known))
