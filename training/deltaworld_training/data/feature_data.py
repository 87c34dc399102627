# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Batches of cached features for the stages, from any mixture of stores."""

from collections.abc import Sequence

import lightning
from torch.utils.data import DataLoader

from deltaworld_training.data.feature_store import Windows
from deltaworld_training.data.loader import batch_loader


class FeatureData(lightning.LightningDataModule):
    """
    Endless training batches of windows, a pure function of (seed, step).

    Each batch is a dict with the arrays of the windows, stacked: of a `FeatureStore`, 'features'
    float16 (B, F, N, D), 'times' float64 (B, F) s, and what else was asked for.
    """

    def __init__(
        self, windows: Sequence[Windows], weights: Sequence[float], batch: int,
        seed: int = 0,
    ):
        """
        Take the windows of each source and its weight.

        batch: windows of one optimiser step, over all processes.
        """
        super().__init__()
        self.windows = windows
        self.weights = weights
        self.batch = batch
        self.seed = seed

    def train_dataloader(self) -> DataLoader:
        """Return the batches of this rank from the trainer's step on."""
        # No workers: they would be no quicker than memory maps, and each would copy the arrays.
        return batch_loader(self.windows, self.weights, self.batch, self.seed, 0, self.trainer)
