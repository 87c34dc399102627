# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The DINOv3 vision transformer as a frozen backbone, with the names of the released weights."""

import torch
from torch import Tensor, nn

from deltaworld_ros.errors import UserError
from deltaworld_ros.model.blocks import NORM_EPSILON, SelfAttentionBlock
from deltaworld_ros.model.protocols import PublishedWeights
from deltaworld_ros.model.registry import register
from deltaworld_ros.model.rotary import patch_table

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
PATCH = 16
# By the width of the released models.
MODEL_NAMES = {384: 'dinov3_vits16', 768: 'dinov3_vitb16', 1024: 'dinov3_vitl16'}


class DinoEmbeddings(nn.Module):
    """Patch embedding with a class token and registers in front."""

    FLOAT32_LAYERS = ('patch_embeddings',)

    def __init__(self, size: int, registers: int):
        """Create the parameters; the mask token only keeps its name in the checkpoint."""
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, size))
        self.register_tokens = nn.Parameter(torch.zeros(1, registers, size))
        self.patch_embeddings = nn.Conv2d(3, size, PATCH, PATCH)

    def forward(self, image: Tensor) -> Tensor:
        """Embed normalised images (B, 3, H, W) as (B, 1 + registers + patches, size)."""
        patches = self.patch_embeddings(image).flatten(2).transpose(1, 2)
        prefix = torch.cat([self.cls_token, self.register_tokens], dim=1)
        return torch.cat([prefix.expand(patches.shape[0], -1, -1), patches], dim=1)


@register('backbone', 'dinov3')
class DinoV3(nn.Module):
    """DINOv3 ViT: patch tokens x_t after the final norm (paper, section 3.1)."""

    FLOAT32_LAYERS = ('norm',)
    stride = PATCH
    published = PublishedWeights(
        'DINOv3', 'DINOv3 License',
        'https://ai.meta.com/resources/models-and-libraries/dinov3-license/')
    mean: Tensor
    std: Tensor

    def __init__(
        self, size: int = 768, heads: int = 12, layers: int = 12, mlp_size: int = 3072,
        registers: int = 4,
    ):
        """Take the sizes of ViT-B/16 unless others are given."""
        super().__init__()
        self.feature_size = size
        self.head_size = size // heads
        self.embeddings = DinoEmbeddings(size, registers)
        self.layer = nn.ModuleList(
            SelfAttentionBlock(size, heads, mlp_size, gated=False) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(size, NORM_EPSILON)
        self.prefix = 1 + registers
        self.register_buffer('mean', torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    @property
    def model_name(self) -> str:
        """Return the name in a bundle's manifest."""
        size = self.norm.normalized_shape[0]
        return MODEL_NAMES.get(size, f'dinov3_vit16_{size}')

    def load_published(self) -> None:
        """Raise `UserError`: the weights are handed out to those who accept their licence."""
        raise UserError(f'backbone: weights of DINOv3 are not downloaded here; get them under '
                        f'their licence ({self.published.source}), then name their file')

    def forward(self, image: Tensor) -> Tensor:
        """Map uint8 RGB (B, 3, H, W), sides divisible by 16, to features (B, N, size)."""
        rows, columns = image.shape[-2] // PATCH, image.shape[-1] // PATCH
        table = tuple(t.to(image.device) for t in patch_table(rows, columns, self.head_size))
        dtype = self.embeddings.patch_embeddings.weight.dtype
        x = self.embeddings(((image.float() / 255.0 - self.mean) / self.std).to(dtype))
        for block in self.layer:
            x = block(x, table)
        return self.norm(x)[:, self.prefix:]
