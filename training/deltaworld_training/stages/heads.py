# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Train the linear segmentation and depth heads on features of labelled frames."""

import lightning
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from deltaworld_ros.model.heads import DepthHead, SegmentationHead
from deltaworld_training.data.feature_store import UNLABELLED
from deltaworld_training.stages.optimizer import adamw_with_cosine


def as_maps(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """Arrange features (B, N, D) as maps (B, D, rows, columns)."""
    return features.transpose(1, 2).unflatten(2, grid)


class HeadsStage(lightning.LightningModule):
    """Cross-entropy for the classes, scale-free absolute error for the depth."""

    class_weights: Tensor

    def __init__(
        self, segmentation: SegmentationHead, depth: DepthHead, grid: tuple[int, int],
        rate: float, steps: int, class_weights: Tensor,
    ):
        """Take both heads and the weights of the classes (classes,)."""
        super().__init__()
        self.segmentation = segmentation
        self.depth = depth
        self.grid = grid
        self.settings = (rate, steps)
        self.register_buffer('class_weights', class_weights)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Fit windows of one frame: features (B, 1, N, D), labels and depth (B, 1, h, w)."""
        maps = as_maps(batch['features'][:, 0].float(), self.grid)
        labels, depth = batch['labels'][:, 0].long(), batch['depth'][:, 0].float()
        logits = F.interpolate(
            self.segmentation(maps), size=labels.shape[1:], mode='bilinear')
        class_loss = F.cross_entropy(
            logits, labels, self.class_weights, ignore_index=UNLABELLED)
        predicted = F.interpolate(self.depth(maps), size=depth.shape[1:], mode='bilinear')[:, 0]
        known = depth.isfinite() & (depth > 0.0) & (depth < self.depth.centres.max())
        difference = predicted[known].clamp_min(0.1).log() - depth[known].log()
        depth_loss = difference.abs().mean()
        self.log('classes', class_loss, prog_bar=True)
        self.log('depth', depth_loss, prog_bar=True)
        return class_loss + depth_loss

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with the cosine schedule."""
        rate, steps = self.settings
        return adamw_with_cosine(self.parameters(), rate, 1e-3, steps, 50)
