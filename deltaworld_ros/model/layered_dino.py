# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several layers of DINOv3 in one feature, projected by a PCA, as in DINO-Foresight."""

from collections.abc import Sequence

import torch
from torch import Tensor

from deltaworld_ros.model.dinov3 import DinoV3
from deltaworld_ros.model.registry import register
from deltaworld_ros.model.rotary import patch_table


@register('backbone', 'dinov3-layers')
class LayeredDino(DinoV3):
    """
    The patch tokens of some layers after the final norm, joined, standardised and projected.

    DINO-Foresight takes layers 2, 5, 8 and 11 of DINOv2 and 1152 components (paper, Table D).
    """

    level_mean: Tensor
    level_std: Tensor
    projection: Tensor

    def __init__(
        self, size: int = 768, heads: int = 12, layers: int = 12, mlp_size: int = 3072,
        registers: int = 4, taps: Sequence[int] = (2, 5, 8, 11), components: int = 1152,
    ):
        """Take DINOv3's sizes, the layers to join, counted from 0, and the width to project to."""
        super().__init__(size, heads, layers, mlp_size, registers)
        self.taps = tuple(taps)
        self.feature_size = components
        width = len(self.taps) * size
        self.register_buffer('level_mean', torch.zeros(width))
        self.register_buffer('level_std', torch.ones(width))
        self.register_buffer('projection', torch.zeros(width, components))

    def levels(self, image: Tensor) -> Tensor:
        """Map uint8 RGB (B, 3, H, W) to the joined layers (B, N, taps * size)."""
        rows, columns = image.shape[-2] // self.stride, image.shape[-1] // self.stride
        table = tuple(t.to(image.device) for t in patch_table(rows, columns, self.head_size))
        x = self.embeddings((image.float() / 255.0 - self.mean) / self.std)
        found = []
        for number, block in enumerate(self.layer):
            x = block(x, table)
            if number in self.taps:
                found.append(self.norm(x)[:, self.prefix:])
        return torch.cat(found, dim=-1)

    def forward(self, image: Tensor) -> Tensor:
        """Map uint8 RGB (B, 3, H, W), sides divisible by 16, to features (B, N, components)."""
        return ((self.levels(image) - self.level_mean) / self.level_std) @ self.projection
