# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""DeltaTok: the change between two frames' features as one token (paper, section 3.4)."""

import torch
from torch import Tensor, nn

from deltaworld_ros.model.blocks import NORM_EPSILON, SelfAttentionBlock
from deltaworld_ros.model.rotary import patch_table


class DeltaTok(nn.Module):
    """
    Encode (x_previous, x_current) to one token; decode the token on top of x_previous.

    `gated` chooses the released block, else the plain DINOv3 block. `frame_tokens` gives the
    frame tokenizer (section 3.3): the encoder sees the current frame alone, plus the second
    embedding as released, and the decoder starts from the first embedding at every patch. All
    names are those of delta tokens.
    """

    FLOAT32_LAYERS = ('norm',)

    def __init__(
        self, size: int = 768, heads: int = 12, layers: int = 12, mlp_size: int = 2048,
        gated: bool = True, frame_tokens: bool = False, layer_scale: float = 1e-5,
    ):
        """Take the released sizes unless others are given; `layers` counts each half."""
        super().__init__()
        self.feature_size = size
        self.token_size = size
        self.head_size = size // heads
        self.frame_tokens = frame_tokens
        # Training may stretch the patches' coordinates (the release does); nothing else does.
        self.coordinate_scale = 1.0
        self.z_embed = nn.Embedding(1, size)
        self.xy_embed = nn.Embedding(2, size)

        def blocks() -> nn.ModuleList:
            return nn.ModuleList(
                SelfAttentionBlock(size, heads, mlp_size, gated, layer_scale)
                for _ in range(layers)
            )
        self.encoder_blocks = blocks()
        self.decoder_blocks = blocks()
        self.norm = nn.LayerNorm(size, NORM_EPSILON)

    def encode(self, previous: Tensor, current: Tensor, grid: tuple[int, int]) -> Tensor:
        """Encode features (B, N, D) of two frames on a (rows, columns) grid as tokens (B, D)."""
        cos, sin = self._table(grid, current.device)
        token = self.z_embed.weight.expand(current.shape[0], 1, -1)
        first, second = self.xy_embed.weight
        if self.frame_tokens:
            x = torch.cat([token, current + second], dim=1)
        else:
            x = torch.cat([token, previous + first, current + second], dim=1)
            cos, sin = cos.repeat(2, 1), sin.repeat(2, 1)
        for block in self.encoder_blocks:
            x = block(x, (cos, sin))
        return self.norm(x[:, 0])

    def decode(self, token: Tensor, previous: Tensor, grid: tuple[int, int]) -> Tensor:
        """Decode tokens (B, D) on the previous features (B, N, D) to features (B, N, D)."""
        table = self._table(grid, token.device)
        start = self.xy_embed.weight[0].expand_as(previous) if self.frame_tokens else previous
        x = torch.cat([token[:, None], start], dim=1)
        for block in self.decoder_blocks:
            x = block(x, table)
        return x[:, 1:]

    def _table(self, grid: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
        cos, sin = patch_table(*grid, self.head_size, self.coordinate_scale)
        return cos.to(device), sin.to(device)
