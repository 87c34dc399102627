# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Train the linear segmentation and depth heads on features of labelled frames."""

from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deltaworld_ros.errors import UserError
from deltaworld_training.data.feature_store import FeatureStore
from deltaworld_training.data.recordings import UNLABELLED
from deltaworld_training.stages.losses import masked
from deltaworld_training.stages.parts import Sizes
from deltaworld_training.stages.stage import Stage

COUNTED_CLIPS = 500


def as_maps(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """Arrange features (B, N, D) as maps (B, D, rows, columns)."""
    return features.transpose(1, 2).unflatten(2, grid)


class HeadsStage(Stage):
    """
    Cross-entropy for the classes and a depth loss; either head may be left out.

    Every frame of a batch counts; 'labels' are 255 and 'depth' NaN where unknown.
    """

    class_weights: Tensor

    def __init__(
        self, grid: tuple[int, int], segmentation: Sizes | None = None,
        depth: Sizes | None = None, depth_loss: Literal['scale_free', 'sig'] = 'sig',
        balance: float = 0.0, initialisation: Literal['paper', 'torch'] = 'torch',
        **options: Any,
    ):
        """
        Take the heads' sizes and the features' grid (rows, columns).

        balance: a class weighs its frequency to minus this power.
        """
        super().__init__(**options)
        if segmentation is None and depth is None:
            raise UserError('heads: give the sizes of segmentation, of depth or of both')
        self.segmentation: Any = segmentation and self.learn(
            'segmentation', segmentation, initialisation)
        self.depth: Any = depth and self.learn('depth', depth, initialisation)
        self.grid = (grid[0], grid[1])
        self.depth_loss = depth_loss
        self.balance = balance
        classes = segmentation['classes'] if segmentation else 1
        self.register_buffer('class_weights', torch.ones(classes))

    def on_fit_start(self) -> None:
        """Weigh the classes by their frequency in the stores."""
        if self.balance:
            stores = getattr(self.trainer.datamodule, 'stores', None)  # type: ignore[attr-defined]
            if stores is None:
                raise UserError('balance: classes are counted in cached labels; set it to 0')
            self.class_weights.copy_(
                class_weights(stores[0], len(self.class_weights), self.balance))

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Fit frames: features (B, F, N, D) or frames, labels and depth (B, F, a, b)."""
        maps = as_maps(self.features(batch).flatten(0, 1), self.grid)
        total = maps.new_zeros(())
        if self.segmentation:
            labels = batch['labels'].flatten(0, 1).long()
            logits = F.interpolate(
                self.segmentation(maps).float(), size=labels.shape[1:], mode='bilinear')
            loss = F.cross_entropy(logits, labels, self.class_weights, ignore_index=UNLABELLED)
            self.log('classes', loss, prog_bar=True)
            total = total + loss
        if self.depth:
            depth = batch['depth'].flatten(0, 1).float()
            predicted = F.interpolate(
                self.depth(maps), size=depth.shape[1:], mode='bilinear')[:, 0]
            known = depth.isfinite() & (depth > 0.0) & (depth < self.depth.centres.max())
            loss = masked(self.depth_loss, predicted, depth, known)
            self.log('depth', loss, prog_bar=True)
            total = total + loss
        self.log('loss', total)
        return total


def class_weights(store: FeatureStore, classes: int, power: float) -> Tensor:
    """Return the weights (classes,), one on average: frequency to the power of -`power`."""
    labels = store.labels[store.clips[:COUNTED_CLIPS], 0]
    counts = np.bincount(labels.ravel(), minlength=classes)[:classes]
    weights = (counts.sum() / (counts + 1.0)) ** power
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)
