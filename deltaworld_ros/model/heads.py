# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Task heads on frozen features: linear ones (paper, appendix A) and small convolutional ones."""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deltaworld_ros.model.registry import register


@register('segmentation', 'linear')
class SegmentationHead(nn.Module):
    """Batch norm and a 1x1 convolution to class logits at patch resolution."""

    def __init__(self, size: int, classes: int):
        """Create the layers."""
        super().__init__()
        self.bn = nn.BatchNorm2d(size)
        self.head = nn.Conv2d(size, classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, D, rows, columns) to logits (B, classes, rows, columns)."""
        return self.head(self.bn(features))


@register('depth', 'linear')
class DepthHead(nn.Module):
    """
    The expectation of a distribution over fixed depths, in metres.

    `spacing` says whether the depths are evenly spaced, as in the paper, or their logarithms,
    which leaves as many of them for what is near as for what is far. `interpolation` says what
    is linear between the features: the depth, as the paper's release resizes it, or its inverse,
    by which planes stay planes and a flat road stays flat.
    """

    centres: Tensor

    def __init__(
        self, size: int, bins: int = 256, minimum: float = 1e-3, maximum: float = 80.0,
        interpolation: Literal['depth', 'inverse'] = 'depth',
        spacing: Literal['uniform', 'log'] = 'uniform',
    ):
        """Create the layers; the depth range is in metres."""
        super().__init__()
        self.minimum, self.maximum = minimum, maximum
        self.interpolation = interpolation
        self.bn = nn.BatchNorm2d(size)
        self.head = nn.Conv2d(size, bins, 1)
        centres = torch.linspace(minimum, maximum, bins) if spacing == 'uniform' else \
            torch.logspace(math.log10(minimum), math.log10(maximum), bins)
        self.register_buffer('centres', centres.view(1, -1, 1, 1), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, D, rows, columns) to depth (B, 1, rows, columns) in float32."""
        weights = F.relu(self.head(self.bn(features)).float()) + 0.1
        return (weights * self.centres).sum(1, keepdim=True) / weights.sum(1, keepdim=True)

    def resized(self, depth: Tensor, resize: Callable[[Tensor], Tensor]) -> Tensor:
        """Map depth (B, 1, rows, columns) to depth (B, 1, a, b) by a linear `resize`."""
        return resize(depth) if self.interpolation == 'depth' else 1.0 / resize(1.0 / depth)


@register('segmentation', 'convolutional')
class ConvolutionalSegmentationHead(SegmentationHead):
    """
    The linear head behind a hidden layer that sees each feature's neighbours.

    Small backbones leave more to their heads than the paper's does.
    """

    def __init__(self, size: int, classes: int, hidden: int):
        """Create the layers; `hidden` is the size of the hidden one."""
        super().__init__(hidden, classes)
        self.context = hidden_layer(size, hidden)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, D, rows, columns) to logits (B, classes, rows, columns)."""
        return super().forward(self.context(features))


@register('depth', 'convolutional')
class ConvolutionalDepthHead(DepthHead):
    """The linear head behind a hidden layer that sees each feature's neighbours."""

    def __init__(self, size: int, hidden: int, **bins: Any):
        """Create the layers; `hidden` is the size of the hidden one, the rest as of DepthHead."""
        super().__init__(hidden, **bins)
        self.context = hidden_layer(size, hidden)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, D, rows, columns) to depth (B, 1, rows, columns) in float32."""
        return super().forward(self.context(features))


def hidden_layer(size: int, hidden: int) -> nn.Module:
    """Return layers from features of one size to hidden ones, which then see their neighbours."""
    return nn.Sequential(
        nn.Conv2d(size, hidden, 1), nn.GELU(),
        nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden), nn.GELU())
