# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The paper's DeltaTok on one fixed grid, with the contract that a bundle's graphs ask for."""

from typing import Any

import torch
from torch import Tensor

from deltaworld_ros.model.delta_tokenizer import DeltaTok
from deltaworld_ros.model.registry import register


@register('tokenizer', 'delta')
class GridDeltaTok(DeltaTok):
    """
    DeltaTok that knows its grid (rows, columns) and the black frame's features.

    The anchor token is the token of the pair (black frame, frame): the paper prepends a black
    frame to every sequence (section 3.4). Parameter names are those of DeltaTok.
    """

    black: Tensor

    def __init__(self, grid: tuple[int, int], **sizes: Any):
        """Take the grid and the sizes of DeltaTok; `black` is zero until it is filled in."""
        super().__init__(**sizes)
        self.grid = (grid[0], grid[1])
        self.register_buffer('black', torch.zeros(1, grid[0] * grid[1], self.token_size))

    def set_grid(self, grid: tuple[int, int], black: Tensor) -> None:
        """Set the grid (rows, columns) and the black frame's features (1, N, D) on it."""
        self.grid, self.black = grid, black

    def encode(  # type: ignore[override]
        self, previous: Tensor, current: Tensor,
    ) -> Tensor:
        """Encode features (B, N, D) of two frames as delta tokens (B, D)."""
        return super().encode(previous, current, self.grid)

    def encode_anchor(self, current: Tensor) -> Tensor:
        """Encode features (B, N, D) against the black frame as anchor tokens (B, D)."""
        return self.encode(self.black.expand_as(current), current)

    def encode_with_anchor(self, previous: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
        """Encode features (B, N, D) as delta and as anchor tokens, in one pass of both pairs."""
        before = torch.stack([previous, self.black.expand_as(current)], dim=1)
        tokens = self.encode(
            before.flatten(0, 1), current[:, None].expand_as(before).flatten(0, 1))
        delta, anchor = tokens.unflatten(0, (-1, 2)).unbind(1)
        return delta, anchor

    def decode(self, token: Tensor, previous: Tensor) -> Tensor:  # type: ignore[override]
        """Decode tokens (B, D) on the previous features (B, N, D) to features (B, N, D)."""
        return super().decode(token, previous, self.grid)
