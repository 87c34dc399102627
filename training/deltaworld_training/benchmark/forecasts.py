# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Features of a benchmark's scored frame, in every way that the benchmark compares."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.bundle.time_tables import time_tables
from deltaworld_ros.model.networks import Networks
from deltaworld_training.stages.losses import smooth_l1

HORIZONS = {'short': 1, 'mid': 3}   # steps
WAYS = ('best', 'mean', 'reconstruction', 'copy_last', 'present')

# Standard normal numbers of a shape (crops, samples, steps, size), drawn anew for each horizon.
Draw = Callable[[tuple[int, ...]], np.ndarray]


class Forecasts:
    """
    Forecasts the last frame of windows from the frames a horizon before it.

    Both horizons see as many frames of context, so the shorter one's context is later. Of the
    samples, `best` is the one with the least smooth-L1 distance to the true features, for each
    crop; `mean` averages their features.
    """

    def __init__(self, networks: Networks, manifest: Manifest, samples: int) -> None:
        self._networks, self._manifest = networks, manifest
        self._device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        # A discriminative model has one future.
        self.samples = 1 if networks.world.learned_query else samples
        for part in networks.parts().values():
            part.to(self._device).eval()

    @torch.inference_mode()
    def features(self, frames: np.ndarray) -> Tensor:
        """Return the features (B, F, N, D) of frames (B, F, h, w, 3) uint8."""
        images = torch.from_numpy(frames).to(self._device).permute(0, 1, 4, 2, 3)
        backbone: Any = self._networks.backbone
        return backbone(images.flatten(0, 1)).unflatten(0, images.shape[:2])

    @torch.inference_mode()
    def last(self, features: Tensor, times: np.ndarray, steps: int, draw: Draw,
             ) -> dict[str, Tensor]:
        """
        Return features (B, N, D) of the last frame by way, forecast `steps` frames ahead.

        Features (B, F, N, D) of the window's frames and their times (F,) in seconds.
        """
        length = self._manifest.context_length
        start = features.shape[1] - length - steps
        true, context = features[:, -1], features[:, start:start + length]
        sampled = self._sample(context, times[start:], steps, draw)
        best = smooth_l1(sampled, true[:, None].expand_as(sampled)).mean((-2, -1)).argmin(1)
        return {
            'best': sampled[torch.arange(len(best)), best], 'mean': sampled.mean(1),
            'reconstruction': self._reconstruct(features, steps), 'copy_last': context[:, -1],
            'present': true}

    def _sample(self, context: Tensor, times: np.ndarray, steps: int, draw: Draw) -> Tensor:
        """Return samples (B, M, N, D) of the last of the times (T + S,)."""
        tokenizer, m = self._networks.tokenizer, self._manifest
        tokens = torch.stack([
            tokenizer.encode_anchor(context[:, 0]),
            *(tokenizer.encode(context[:, place - 1], context[:, place])
              for place in range(1, context.shape[1]))], dim=1)
        newest = times[context.shape[1] - 1]
        table = [torch.from_numpy(one).to(self._device).expand(len(context), -1, -1)
                 for one in time_tables(times - newest, m.rotary_frequencies)]
        shape = (len(context), self.samples, steps, m.noise_size)
        noise = m.noise_std * torch.from_numpy(draw(shape)).to(self._device, torch.float32)
        futures = self._networks.world.rollout(tokens, (table[0], table[1]), noise)
        # One sample at a time: a decoder of ViT-B holds hundreds of MB for each.
        return torch.stack([
            self._decode(futures[:, sample], context[:, -1]) for sample in range(self.samples)],
            dim=1)

    def _decode(self, tokens: Tensor, features: Tensor) -> Tensor:
        for step in range(tokens.shape[1]):
            features = self._networks.tokenizer.decode(tokens[:, step], features)
        return features

    def _reconstruct(self, features: Tensor, steps: int) -> Tensor:
        """Encode and decode each true frame from the frame reconstructed before it."""
        tokenizer = self._networks.tokenizer
        current = features[:, -steps - 1]
        for step in range(steps, 0, -1):
            current = tokenizer.decode(tokenizer.encode(current, features[:, -step]), current)
        return current
