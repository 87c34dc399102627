# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The three graphs of a bundle as torch modules (needs torch; design of their contracts)."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deltaworld_ros.bundle.lead_outputs import FUTURE_MAPS
from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.model.heads import DepthHead, SegmentationHead
from deltaworld_ros.model.networks import Networks
from deltaworld_ros.model.predictor import DeltaWorld


class Tokenizer(Protocol):
    """What the graphs ask of a delta tokenizer on a fixed grid of features."""

    def encode(self, previous: Tensor, current: Tensor) -> Tensor:
        """Encode features (B, N, D) of two frames as delta tokens (B, Dz)."""

    def encode_with_anchor(self, previous: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
        """Encode features (B, N, D) as delta tokens and as anchor tokens, each (B, Dz)."""

    def decode(self, token: Tensor, previous: Tensor) -> Tensor:
        """Decode tokens (B, Dz) on previous features to features (B, N, D)."""


class ObserveGraph(nn.Module):
    """A new frame and its predecessor's features to features, delta and anchor token."""

    def __init__(self, backbone: nn.Module, tokenizer: Tokenizer):
        """Take the trained parts."""
        super().__init__()
        self.backbone = backbone
        self.tokenizer = tokenizer

    def forward(self, image: Tensor, previous_features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images (B, h, w, 3) uint8 and features (B, N, D); see the class."""
        features = self.backbone(image.permute(0, 3, 1, 2))
        return features, *self.tokenizer.encode_with_anchor(previous_features, features)


class RolloutGraph(nn.Module):
    """Context tokens and noise to the tokens of every sample's future."""

    def __init__(self, world: DeltaWorld):
        """Take the trained predictor."""
        super().__init__()
        self.world = world

    def forward(
        self, tokens: Tensor, rotary_cos: Tensor, rotary_sin: Tensor, noise: Tensor,
    ) -> Tensor:
        """Map (B, T, Dz), tables (B, T + S, R) and noise (B, M, S, W) to (B, M, S, Dz)."""
        return self.world.rollout(tokens, (rotary_cos, rotary_sin), noise)


def linear_weights(size: int, target: int) -> Tensor:
    """Return the matrix (size, target) that resizes an axis linearly, as images are resized."""
    return F.interpolate(torch.eye(size)[None], size=target, mode='linear')[0]


class DecodeGraph(nn.Module):
    """The newest features and K futures' tokens to maps of each future and of their mean."""

    upsample_rows: Tensor
    upsample_columns: Tensor

    def __init__(
        self, tokenizer: Tokenizer, segmentation: SegmentationHead, depth: DepthHead,
        grid: tuple[int, int], map_size: tuple[int, int],
    ):
        """Take the trained parts, the grid (rows, columns) and the maps' (height, width)."""
        super().__init__()
        self.tokenizer = tokenizer
        self.segmentation = segmentation
        self.depth = depth
        self.grid = grid
        self.register_buffer('upsample_rows', linear_weights(grid[0], map_size[0]).T.contiguous())
        self.register_buffer('upsample_columns', linear_weights(grid[1], map_size[1]))

    def heads(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (n, N, D) to labels (n, a, b) uint8 and depth (n, a, b) in metres."""
        maps = features.transpose(1, 2).unflatten(2, self.grid)
        logits = self._upsample(self.segmentation(maps))
        return logits.argmax(1).to(torch.uint8), self._upsample(self.depth(maps))[:, 0]

    def _upsample(self, maps: Tensor) -> Tensor:
        # Two small products are several times faster on CPUs than the resize operator.
        return self.upsample_rows @ (maps @ self.upsample_columns)

    def forward(
        self, features: Tensor, tokens: Tensor, weights: Tensor,
    ) -> tuple[Tensor, ...]:
        """
        Map features (B, N, D), tokens (B, K, S, Dz) and weights (B, K) to all maps.

        Returns labels and depth of each future (B, K, S, a, b); labels, depth and confidence of
        the present (entry 0) and of the futures' weighted mean (B, S + 1, a, b); and every
        future's features (B, K, S, N, D), which only evaluation asks for. After these come the
        maps of each lead alone (see `bundle.lead_outputs`), of which the first are made.
        """
        batch, futures, steps = tokens.shape[:3]
        weights = weights[:, :, None, None]
        current = features[:, None].expand(-1, futures, -1, -1).flatten(0, 1)
        present_labels, present_depth = self.heads(features)
        decoded = []
        leads: dict[str, list[Tensor]] = {
            'labels': [], 'depth': [], 'fused_labels': [present_labels],
            'fused_depth': [present_depth], 'confidence': [torch.ones_like(present_depth)]}
        for step in range(steps):
            current = self.tokenizer.decode(tokens[:, :, step].flatten(0, 1), current)
            future = current.unflatten(0, (batch, futures))
            labels, depth = (
                maps.unflatten(0, (batch, futures)) for maps in self.heads(current))
            fused_labels, fused_depth = self.heads((future * weights).sum(1))
            agrees = (labels == fused_labels[:, None]).to(weights.dtype)
            decoded.append(future)
            for name, value in zip(
                    leads, (labels, depth, fused_labels, fused_depth, (agrees * weights).sum(1)),
                    strict=True):
                leads[name].append(value)
        # Each future's maps have their leads after the futures, all others after the batch.
        joined = [torch.stack(maps, dim=2 if name in FUTURE_MAPS else 1)
                  for name, maps in leads.items()]
        return (*joined, torch.stack(decoded, dim=2),
                *(value for maps in leads.values() for value in maps))


def graph_modules(networks: Networks, manifest: Manifest) -> dict[str, nn.Module]:
    """Return the three graphs by name, in evaluation mode."""
    grid = (manifest.feature_rows, manifest.feature_columns)
    return {
        'observe': ObserveGraph(networks.backbone, networks.tokenizer).eval(),
        'rollout': RolloutGraph(networks.world).eval(),
        'decode': DecodeGraph(
            networks.tokenizer, networks.segmentation, networks.depth, grid,
            (manifest.map_height, manifest.map_width)).eval(),
    }
