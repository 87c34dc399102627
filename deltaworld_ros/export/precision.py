# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Networks as they are exported: batch norms folded, every value of a stated type (needs torch).

Nothing is left for an engine to choose: engines that choose themselves are silently wrong on
DINOv3. In half precision, matrix products, convolutions and what lies between them inside a
branch (attention, activations, gates) are of the half type. Float32 are: norms, softmax, rotations
(in `model.blocks` already), the sum that the branches add to, whose largest channels outgrow half
types, the linear codes and the heads, whose nearly equal logits decide labels. A network names
its last layers, whose results are float32, in `FLOAT32_LAYERS`, and the batch norms behind its
convolutions in `BATCH_NORMS`.
"""

import copy
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from deltaworld_ros.model.heads import DepthHead, SegmentationHead
from deltaworld_ros.model.networks import Networks
from deltaworld_ros.model.painter import Painter

Precision = Literal['fp32', 'fp16', 'bf16']
PRECISIONS: dict[str, torch.dtype] = {
    'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}
_HALF_PARTS = ('backbone', 'tokenizer', 'world')


class TypedLinear(nn.Module):
    """A linear layer in the type of its weights, whatever comes in."""

    def __init__(self, layer: nn.Linear, dtype: torch.dtype, output: torch.dtype):
        """Take over a float32 layer."""
        super().__init__()
        self.weight = nn.Parameter(layer.weight.to(dtype))
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.to(dtype))
        self.out_features = layer.out_features
        self.output = output

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) of any type to (..., out)."""
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias).to(self.output)


class TypedLayerNorm(nn.Module):
    """A layer norm in float32 that gives its result in another type."""

    def __init__(self, norm: nn.LayerNorm, output: torch.dtype):
        """Take over a float32 norm."""
        super().__init__()
        self.norm = norm
        self.output = output

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., size) of any type."""
        return self.norm(x.float()).to(self.output)


class PatchEmbedding(nn.Module):
    """A patch embedding of half type, whose result starts a float32 sum."""

    def __init__(self, convolution: nn.Conv2d, dtype: torch.dtype):
        """Take over a float32 convolution."""
        super().__init__()
        self.weight = nn.Parameter(convolution.weight.to(dtype))
        self.bias = nn.Parameter(cast(Tensor, convolution.bias).to(dtype))

    def forward(self, image: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) of the weights' type as (B, size, rows, columns)."""
        return F.conv2d(image, self.weight, self.bias, self.weight.shape[2:]).float()


def typed_networks(networks: Networks, precision: Precision) -> Networks:
    """Return a copy for export: batch norms folded, and typed for `precision` (see the module)."""
    parts = {name: copy.deepcopy(module).eval() for name, module in networks.parts().items()}
    with torch.no_grad():
        for module in parts.values():
            fold_batch_norms(module)
        dtype = PRECISIONS[precision]
        if dtype != torch.float32:
            for name in _HALF_PARTS:
                _set_types(parts[name], dtype)
    return Networks(networks.sizes, **parts)  # type: ignore[arg-type]


def typed_painter(painter: Painter, precision: Precision) -> Painter:
    """Return a copy of the painter for export; what it adds up is float32 (see the module)."""
    painter = copy.deepcopy(painter).eval()
    if PRECISIONS[precision] != torch.float32:
        with torch.no_grad():
            _set_types(painter, PRECISIONS[precision])
    return painter


def fold_batch_norms(part: nn.Module) -> None:
    """Fold every batch norm of a part into the convolution beside it, in place."""
    for module in part.modules():
        for convolution, norm in getattr(module, 'BATCH_NORMS', ()):
            if hasattr(module, convolution):
                _fold(module, convolution, norm)
        if isinstance(module, SegmentationHead | DepthHead):
            _fold_norm_before(module)


def _fold(module: nn.Module, convolution: str, norm: str) -> None:
    fused = fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm))
    setattr(module, convolution, fused)
    setattr(module, norm, nn.Identity())


def _fold_norm_before(head: SegmentationHead | DepthHead) -> None:
    """Fold a head's norm, which comes before its 1x1 convolution."""
    norm, convolution = head.bn, head.head
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = norm.weight / (variance + norm.eps).sqrt()
    weight = convolution.weight[:, :, 0, 0]
    bias = cast(Tensor, convolution.bias)
    bias += weight @ (norm.bias - mean * scale)
    convolution.weight *= scale[None, :, None, None]
    head.bn = nn.Identity()  # type: ignore[assignment]


def _set_types(part: nn.Module, dtype: torch.dtype) -> None:
    for name, child in part.named_children():
        # What leaves a graph or another part reads is float32.
        last = name in getattr(part, 'FLOAT32_LAYERS', ())
        output = torch.float32 if last else dtype
        if isinstance(child, nn.Linear):
            setattr(part, name, TypedLinear(child, dtype, output))
        elif isinstance(child, nn.LayerNorm):
            setattr(part, name, TypedLayerNorm(child, output))
        elif isinstance(child, nn.Conv2d) and last:
            setattr(part, name, PatchEmbedding(child, dtype))
        elif isinstance(child, nn.Conv2d):
            child.to(dtype)
        else:
            _set_types(child, dtype)
