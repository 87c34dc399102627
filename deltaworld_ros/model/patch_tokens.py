# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""DINO-world on one fixed grid, with the contract that a bundle's graphs ask for."""

from typing import Any

from torch import Tensor, nn

from deltaworld_ros.model.registry import register
from deltaworld_ros.model.spatial_world import SpatialWorld, Table, with_places


@register('tokenizer', 'patches')
class PatchTokens(nn.Module):
    """All patches of a frame as its one token (paper, section 3.1): nothing is compressed."""

    def __init__(self, grid: tuple[int, int], size: int):
        """Take the grid (rows, columns) and the features' size."""
        super().__init__()
        self.feature_size = size
        self.grid = (grid[0], grid[1])

    @property
    def token_size(self) -> int:
        """Return the number of values of a frame."""
        return self.grid[0] * self.grid[1] * self.feature_size

    def set_grid(self, grid: tuple[int, int], black: Tensor) -> None:
        """Set the grid (rows, columns)."""
        self.grid = grid

    def encode(self, previous: Tensor, current: Tensor) -> Tensor:
        """Return the current frame's features (B, N, D) as tokens (B, N D)."""
        return current.flatten(1)

    def encode_anchor(self, current: Tensor) -> Tensor:
        """Return the current frame's features (B, N, D) as tokens (B, N D)."""
        return current.flatten(1)

    def encode_with_anchor(self, previous: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
        """Return the current frame's features (B, N, D) as delta and as anchor tokens (B, N D)."""
        # Two outputs of a graph may not be one tensor.
        return current.flatten(1), current.flatten(1) + 0.0

    def decode(self, token: Tensor, previous: Tensor) -> Tensor:
        """Return tokens (B, N D) as features (B, N, D)."""
        return token.unflatten(1, (-1, self.feature_size))


@register('world', 'patches')
class PatchWorld(SpatialWorld):
    """
    DINO-world that predicts whole frames as tokens (B, N D) at times given by a table.

    Parameter names are those of SpatialWorld, which are the release's.
    """

    def __init__(self, grid: tuple[int, int], **sizes: Any):
        """Take the grid (rows, columns) and the sizes of SpatialWorld."""
        super().__init__(**sizes)
        self.grid = (grid[0], grid[1])

    @property
    def token_size(self) -> int:
        """Return the number of values of a frame."""
        return self.grid[0] * self.grid[1] * self.feature_size

    def set_grid(self, grid: tuple[int, int], black: Tensor) -> None:
        """Set the grid (rows, columns)."""
        self.grid = grid

    def rollout(self, tokens: Tensor, table: Table, noise: Tensor) -> Tensor:  # type: ignore[override]
        """
        Roll every sample out; see SpatialWorld.

        Context tokens (B, T, N D), the time table of the T context and S future times, each
        (B, T + S, R), and noise (B, M, S, size). Returns future tokens (B, M, S, N D).
        """
        rows, columns = self.grid
        features = tokens.unflatten(2, (rows * columns, -1))
        return self.roll(features, with_places(table, self.grid), noise).flatten(3)
