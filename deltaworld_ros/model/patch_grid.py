# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Patches of 2 x 2 features, which the small tokenizers compute with instead of features."""

import torch
from torch import Tensor

from deltaworld_ros.model.rotary import patch_table

# Features along a side of a patch, and in it.
SIDE = 2
CELLS = SIDE * SIDE


class PatchGrid:
    """The patches of one grid (rows, columns) of features, which must be even both ways."""

    def __init__(self, grid: tuple[int, int]):
        """Take the grid of the features."""
        self.rows, self.columns = grid[0] // SIDE, grid[1] // SIDE
        self.count = self.rows * self.columns

    def join(self, features: Tensor) -> Tensor:
        """Join the features of each patch: (B, N, D) -> (B, N / 4, 4, D)."""
        x = features.unflatten(1, (self.rows, SIDE, self.columns, SIDE))
        return x.transpose(2, 3).reshape(x.shape[0], self.count, CELLS, -1)

    def part(self, patches: Tensor) -> Tensor:
        """Undo `join`: (B, N / 4, 4, D) -> (B, N, D)."""
        size = patches.shape[-1]
        x = patches.reshape(patches.shape[0], self.rows, self.columns, SIDE, SIDE, size)
        return x.transpose(2, 3).reshape(patches.shape[0], self.count * CELLS, size)

    def table(self, head_size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the rotary table of the patches, cosines and sines (N / 4, head size)."""
        cos, sin = patch_table(self.rows, self.columns, head_size)
        return cos.to(device), sin.to(device)
