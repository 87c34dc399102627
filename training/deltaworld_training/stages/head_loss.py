# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How wrong the maps are that the frozen heads read from forecast features."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deltaworld_training.stages.heads import as_maps
from deltaworld_training.stages.losses import masked
from deltaworld_training.stages.parts import frozen, load_part


@dataclass
class Truth:
    """
    What forecasts of some frames are compared with.

    Logarithms of the class probabilities (n, classes, a, b) and the depth (n, a, b) that the heads
    read from the true features; the depth (n, a, b) that the frames were made with, NaN where
    unknown.
    """

    classes: Tensor
    depth: Tensor
    known_depth: Tensor


class HeadLoss(nn.Module):
    """
    The divergence of the classes and the mean error of log depth, on forecast features.

    Classes are compared with what the heads read from the true features, which keeps forecasts
    true to the heads on pictures of every origin. Depth is compared with what the heads read and,
    half and half, with the known depth.
    """

    class_weights: Tensor

    def __init__(self, heads: Path, grid: tuple[int, int]):
        """Take the file of the heads and the features' grid (rows, columns)."""
        super().__init__()
        segmentation, sizes = load_part(heads, 'segmentation')
        self.segmentation: Any = frozen(segmentation)
        self.depth: Any = frozen(load_part(heads, 'depth')[0])
        self.grid = grid
        self.register_buffer('class_weights', torch.ones(sizes['classes']), persistent=False)

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
    def truth(self, features: Tensor, depth: Tensor) -> Truth:
        """Return what to compare with: features (n, N, D), depth (n, a, b)."""
        scores, read = self.read(features, (depth.shape[-2], depth.shape[-1]))
        return Truth(F.log_softmax(scores, 1), read, depth.float())

    def forward(self, features: Tensor, truth: Truth) -> tuple[Tensor, Tensor]:
        """Compare features (n, N, D) with the truth: both losses, scalars."""
        scores, predicted = self.read(
            features, (truth.depth.shape[-2], truth.depth.shape[-1]))
        likely = truth.classes.exp()
        divergence = (likely * (truth.classes - F.log_softmax(scores, 1))).sum(1)
        weights = torch.einsum('nchw,c->nhw', likely, self.class_weights)
        classes = (weights * divergence).sum() / weights.sum()
        largest = self.depth.centres.max()
        known = truth.known_depth
        known_mask = known.isfinite() & (known > 0.0) & (known < largest)
        unknown = (~known.isfinite()).flatten(1).all(1)[:, None, None].expand_as(known)
        read = masked('scale_free', predicted, truth.depth, truth.depth < largest)
        made = masked('scale_free', predicted, known, known_mask)
        share = 0.5 * (1.0 - unknown.float().mean())
        return classes, (1.0 - share) * read + share * made
