# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The graphs of a bundle as torch modules (needs torch).

Of type uint8 are inputs and outputs alone, since TensorRT takes it nowhere else.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deltaworld_ros.bundle.lead_outputs import FUTURE_MAPS
from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.model.heads import DepthHead, SegmentationHead
from deltaworld_ros.model.networks import Networks
from deltaworld_ros.model.painter import Painter
from deltaworld_ros.model.protocols import Backbone, MotionWorld, Tokenizer, World


class ObserveGraph(nn.Module):
    """A new frame and its predecessor's features to features, delta and anchor token."""

    def __init__(self, backbone: Backbone, tokenizer: Tokenizer):
        """Take the trained parts."""
        super().__init__()
        self.backbone = backbone
        self.tokenizer = tokenizer

    def forward(self, image: Tensor, previous_features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images (B, h, w, 3) uint8 and features (B, N, D); see the class."""
        features = self.backbone(image.float().permute(0, 3, 1, 2))
        return features, *self.tokenizer.encode_with_anchor(previous_features, features)


class RolloutGraph(nn.Module):
    """Context tokens, noise and perhaps motion to the tokens of every sample's future."""

    def __init__(self, world: World):
        """Take the trained predictor."""
        super().__init__()
        self.world = world

    def forward(
        self, tokens: Tensor, rotary_cos: Tensor, rotary_sin: Tensor, noise: Tensor,
        motion: Tensor | None = None,
    ) -> Tensor:
        """
        Map (B, T, Dz), tables (B, T + S, R) and noise (B, M, S, W) to (B, M, S, Dz).

        Only worlds that take it are given a motion (B, T + S, 3).
        """
        table = rotary_cos, rotary_sin
        if motion is None or not isinstance(self.world, MotionWorld):
            return self.world.rollout(tokens, table, noise)
        return self.world.rollout(tokens, table, noise, motion)


def linear_weights(size: int, target: int) -> Tensor:
    """Return the matrix (size, target) that resizes an axis linearly, as images are resized."""
    return F.interpolate(torch.eye(size)[None], size=target, mode='linear')[0]


class DecodeGraph(nn.Module):
    """
    The newest features and K futures' tokens to maps of each future and of their mean.

    The mean is that of the futures' features, or what their mean token decodes to. The latter is
    sharper: where futures differ by how things move, mean features show each thing in several
    places. A share of the class probabilities of each lead may be that of the present map: what
    a forecast blurs, such as a small car that keeps its place in the picture, is sharp there.
    """

    upsample_rows: Tensor
    upsample_columns: Tensor
    halfway_rows: Tensor
    halfway_columns: Tensor
    double_rows: Tensor
    double_columns: Tensor

    def __init__(
        self, tokenizer: Tokenizer, segmentation: SegmentationHead, depth: DepthHead,
        grid: tuple[int, int], map_size: tuple[int, int], temperatures: Sequence[float],
        fused: Literal['features', 'tokens'] = 'features', present_shares: Sequence[float] = (),
    ):
        """
        Take the trained parts, the grid (rows, columns) and the maps' (height, width).

        temperatures: of the class probabilities at the present and at each lead; fused and
        present_shares (one a lead, or none): see `Manifest`.
        """
        super().__init__()
        self.tokenizer = tokenizer
        self.segmentation = segmentation
        self.depth = depth
        self.grid = grid
        self.temperatures = list(temperatures)
        self.fused = fused
        self.present_shares = list(present_shares)
        half = map_size[0] // 2, map_size[1] // 2
        for name, size, target in (
                ('upsample', grid, map_size), ('halfway', grid, half), ('double', half, map_size)):
            self.register_buffer(f'{name}_rows', linear_weights(size[0], target[0]).T.contiguous())
            self.register_buffer(f'{name}_columns', linear_weights(size[1], target[1]))

    def heads(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """
        Map features (n, N, D) to the classes' scores (n, C, rows, columns) and depth (n, a, b).

        Depth is in metres.
        """
        maps = features.transpose(1, 2).unflatten(2, self.grid)
        depth = self.depth.resized(self.depth(maps), self.upsample)
        return self.segmentation(maps).float(), depth[:, 0]

    def likely(self, scores: Tensor, temperature: float) -> Tensor:
        """
        Map scores (n, C, rows, columns) to the classes' probabilities (n, C, a / 2, b / 2).

        Labels follow from enlarged scores, and so must probabilities to be calibrated. Half of
        the maps' size tells nearly as much as all of it, for a quarter of the work.
        """
        return softmax(self.halfway_rows @ (scores / temperature @ self.halfway_columns))

    def enlarge(self, classes: Tensor) -> Tensor:
        """Enlarge the classes' probabilities (..., a / 2, b / 2) to (..., a, b)."""
        return self.double_rows @ (classes @ self.double_columns)

    def probability(self, classes: Tensor, labels: Tensor) -> Tensor:
        """Return the probability (B, a, b) of labels by that of classes (B, C, a / 2, b / 2)."""
        of_class = torch.arange(classes.shape[1], dtype=torch.int32)[:, None, None]
        published = (labels[:, None] == of_class).to(classes.dtype)
        return (self.enlarge(classes) * published).sum(1)

    def upsample(self, maps: Tensor) -> Tensor:
        """Resize maps (..., rows, columns) to (..., a, b)."""
        # Two small products are several times faster on CPUs than the resize operator.
        return self.upsample_rows @ (maps @ self.upsample_columns)

    def classes(self, scores: Tensor, temperature: float) -> Tensor:
        """Map scores (n, C, rows, columns) to the classes' probabilities (n, C, a, b)."""
        return softmax(self.upsample(scores / temperature))

    def labels(self, scores: Tensor) -> Tensor:
        """Map scores (n, C, rows, columns) to labels (n, a, b) int32."""
        return self.upsample(scores).argmax(1).to(torch.int32)

    def forward(
        self, features: Tensor, tokens: Tensor, weights: Tensor,
    ) -> tuple[Tensor, ...]:
        """
        Map features (B, N, D), tokens (B, K, S, Dz) and weights (B, K) to all maps.

        Returns labels and depth of each future (B, K, S, a, b); labels, depth and confidence of
        the present (entry 0) and of the futures' weighted mean (B, S + 1, a, b); every future's
        features (B, K, S, N, D), which only evaluation asks for; and the probabilities of the
        classes, mixed over the futures (B, S + 1, C, a / 2, b / 2). The confidence is the
        probability of the label. After these come the maps of each lead alone (see
        `bundle.lead_outputs`), of which the first are made.
        """
        batch, futures, steps = tokens.shape[:3]
        current = features[:, None].expand(-1, futures, -1, -1).flatten(0, 1)
        mean, mean_tokens = features, (tokens * weights[:, :, None, None]).sum(1)
        present, present_depth = self.heads(features)
        present_labels = self.labels(present)
        classes = [self.likely(present, self.temperatures[0])]
        decoded = []
        leads: dict[str, list[Tensor]] = {
            'labels': [], 'depth': [], 'fused_labels': [present_labels],
            'fused_depth': [present_depth],
            'confidence': [self.probability(classes[0], present_labels)]}
        for step in range(steps):
            current = self.tokenizer.decode(tokens[:, :, step].flatten(0, 1), current)
            future = current.unflatten(0, (batch, futures))
            if self.fused == 'tokens':
                mean = self.tokenizer.decode(mean_tokens[:, step], mean)
            else:
                mean = (future * weights[:, :, None, None]).sum(1)
            scores, depth = self.heads(current)
            fused, fused_depth = self.heads(mean)
            temperature = self.temperatures[step + 1]
            likely = self.likely(scores, temperature).unflatten(0, (batch, futures))
            likely = (likely * weights[:, :, None, None, None]).sum(1)
            if self.present_shares:
                share = self.present_shares[step]
                # Parts of the futures add up: their weights do not sum to one.
                now = self.likely(present, temperature) * weights.sum(1)[:, None, None, None]
                likely = mixed(likely, now, share)
                now = self.classes(present, temperature)
                labels = mixed(
                    self.classes(scores, temperature).unflatten(0, (batch, futures)),
                    now[:, None], share).argmax(2).to(torch.int32)
                fused_labels = mixed(
                    self.classes(fused, temperature), now, share).argmax(1).to(torch.int32)
            else:
                labels = self.labels(scores).unflatten(0, (batch, futures))
                fused_labels = self.labels(fused)
            depth = depth.unflatten(0, (batch, futures))
            classes.append(likely)
            decoded.append(future)
            for name, value in zip(leads, (
                    labels, depth, fused_labels, fused_depth,
                    self.probability(likely, fused_labels)), strict=True):
                leads[name].append(value)
        # Each future's maps have their leads after the futures, all others after the batch.
        joined = {name: torch.stack(maps, dim=2 if name in FUTURE_MAPS else 1)
                  for name, maps in leads.items()}
        for name in ('labels', 'fused_labels'):
            joined[name] = joined[name].to(torch.uint8)
        return (*joined.values(), torch.stack(decoded, dim=2), torch.stack(classes, dim=1),
                *(value for maps in leads.values() for value in maps))


def softmax(scores: Tensor) -> Tensor:
    """Map scores (n, C, ...) to probabilities; ONNX Runtime transposes for its own operator."""
    powers = (scores - scores.amax(1, keepdim=True)).exp()
    return powers / powers.sum(1, keepdim=True)


def mixed(classes: Tensor, present: Tensor, share: float) -> Tensor:
    """Return the classes' probabilities of which a share is the present's."""
    return (1.0 - share) * classes + share * present


class PaintGraph(nn.Module):
    """Features to an RGB picture of the size of the input image."""

    def __init__(self, painter: Painter):
        """Take the painter, fitted to the grid."""
        super().__init__()
        self.painter = painter

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, N, D) to pictures (B, h, w, 3) uint8."""
        return (255.0 * self.painter(features) + 0.5).to(torch.uint8)


def graph_modules(networks: Networks, manifest: Manifest) -> dict[str, nn.Module]:
    """Return the three graphs by name, in evaluation mode."""
    grid = (manifest.feature_rows, manifest.feature_columns)
    return {
        'observe': ObserveGraph(networks.backbone, networks.tokenizer).eval(),
        'rollout': RolloutGraph(networks.world).eval(),
        'decode': DecodeGraph(
            networks.tokenizer, networks.segmentation, networks.depth, grid,
            (manifest.map_height, manifest.map_width),
            manifest.temperatures or [1.0] * (manifest.steps + 1), manifest.fused,
            manifest.present_shares).eval(),
    }
