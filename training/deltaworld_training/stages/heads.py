# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Train the linear segmentation and depth heads on features of labelled frames."""

from collections.abc import Sequence
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

    Every frame of a batch counts; 'labels' are 255 and 'depth' NaN where unknown. Frames of one
    window that have the same time are looks of one picture: with `consistency` the heads must
    agree on them. With `road`, depth of frames without labels is that of a flat road, and holds
    where the segmentation head sees one of these classes.
    """

    class_weights: Tensor

    def __init__(
        self, grid: tuple[int, int], segmentation: Sizes | None = None,
        depth: Sizes | None = None, depth_loss: Literal['scale_free', 'sig'] = 'sig',
        balance: float = 0.0, consistency: float = 0.0, road: list[int] | None = None,
        initialisation: Literal['paper', 'torch'] = 'torch', **options: Any,
    ):
        """
        Take the heads' sizes and the features' grid (rows, columns).

        balance: a class weighs its frequency to minus this power; consistency: weight of the
        disagreement on looks of one picture; road: ids of the classes that lie on the road.
        """
        super().__init__(**options)
        if segmentation is None and depth is None:
            raise UserError('heads: give the sizes of segmentation, of depth or of both')
        if road and not (segmentation and depth):
            raise UserError('heads: road: needs both heads')
        self.segmentation: Any = segmentation and self.learn(
            'segmentation', segmentation, initialisation)
        self.depth: Any = depth and self.learn('depth', depth, initialisation)
        self.grid = (grid[0], grid[1])
        self.depth_loss = depth_loss
        self.balance = balance
        self.consistency = consistency
        self.road = torch.tensor(road or [], dtype=torch.long)
        classes = segmentation['classes'] if segmentation else 1
        self.register_buffer('class_weights', torch.ones(classes))

    def on_fit_start(self) -> None:
        """Weigh the classes by their frequency in the stores."""
        if self.balance:
            stores = getattr(self.trainer.datamodule, 'stores', None)  # type: ignore[attr-defined]
            if stores is None:
                raise UserError('balance: classes are counted in cached labels; set it to 0')
            self.class_weights.copy_(
                class_weights(stores, len(self.class_weights), self.balance))

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Fit frames: features (B, F, N, D) or frames, labels and depth (B, F, a, b)."""
        maps = as_maps(self.features(batch).flatten(0, 1), self.grid)
        losses: dict[str, Tensor] = {}
        labels = batch['labels'].flatten(0, 1).long()
        scores: Tensor | None = None
        coarse: Tensor | None = None
        classes: Tensor | None = None
        if self.segmentation:
            scores = self.segmentation(maps).float()
            logits = F.interpolate(scores, size=labels.shape[1:], mode='bilinear')
            classes = logits.argmax(1)
            losses['classes'] = masked_cross_entropy(logits, labels, self.class_weights)
        if self.depth:
            depth = batch['depth'].flatten(0, 1).float()
            coarse = self.depth(maps)
            predicted = self.depth.resized(
                coarse, lambda x: F.interpolate(x, size=depth.shape[1:], mode='bilinear'))[:, 0]
            known = depth.isfinite() & (depth > 0.0) & (depth < self.depth.centres.max())
            if len(self.road) and classes is not None:
                unlabelled = (labels == UNLABELLED).flatten(1).all(1)[:, None, None]
                on_road = torch.isin(classes, self.road.to(classes.device))
                losses['road'] = masked(
                    self.depth_loss, predicted, depth, known & unlabelled & on_road)
                known = known & ~unlabelled
            losses['depth'] = masked(self.depth_loss, predicted, depth, known)
        if self.consistency:
            same = batch['times'][:, 1:] == batch['times'][:, :-1]
            losses['consistency'] = self.consistency * disagreement(scores, coarse, same)
        total = torch.stack(list(losses.values())).sum()
        for name, loss in losses.items():
            self.log(name, loss, prog_bar=True)
        self.log('loss', total)
        return total


def disagreement(scores: Tensor | None, depth: Tensor | None, same: Tensor) -> Tensor:
    """
    Return how much the heads differ on neighbouring looks of one picture, zero without such.

    scores (B F, classes, rows, columns) and depth (B F, 1, rows, columns) are the heads' outputs;
    `same` (B, F - 1) says which frames are looks of the picture before them.
    """
    shape = same.shape[0], same.shape[1] + 1
    total = torch.zeros((), device=same.device)
    if not bool(same.any()):
        return total
    if scores is not None:
        logs = F.log_softmax(scores, 1).unflatten(0, shape)
        first, second = logs[:, :-1][same], logs[:, 1:][same]
        total = total + 0.5 * ((first - second) * (first.exp() - second.exp())).sum(1).mean()
    if depth is not None:
        logs = depth.log().unflatten(0, shape)
        total = total + (logs[:, :-1][same] - logs[:, 1:][same]).abs().mean()
    return total


def masked_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted cross-entropy of labelled pixels; zero, with a gradient, without any."""
    if not bool((labels != UNLABELLED).any()):
        return logits.sum() * 0.0
    return F.cross_entropy(logits, labels, weights, ignore_index=UNLABELLED)


def class_weights(stores: Sequence[FeatureStore], classes: int, power: float) -> Tensor:
    """Return the weights (classes,), one on average: frequency to the power of -`power`."""
    counts = np.zeros(classes)
    for store in stores:
        labels = store.labels[store.clips[:COUNTED_CLIPS], 0]
        counts += np.bincount(labels[labels < classes], minlength=classes)
    weights = (counts.sum() / (counts + 1.0)) ** power
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)
