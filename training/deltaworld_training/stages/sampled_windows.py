# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Windows of a store with the futures that the node would choose for them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.forecast.noise import sample_noise
from deltaworld_ros.forecast.selection import select_futures
from deltaworld_ros.model.networks import Networks
from deltaworld_ros.model.rotary import time_table
from deltaworld_training.data.feature_store import FeatureStore


@dataclass(frozen=True)
class SampledWindow:
    """
    A moment of a clip, what came of it, and the futures that were chosen for it.

    features (1 + S, N, D) and labels (1 + S, a, b) of the present and of each lead; tokens
    (K, S, Dz) of the futures and their weights (K,), the shares of the samples.
    """

    features: Tensor
    labels: np.ndarray
    tokens: Tensor
    weights: Tensor


@torch.no_grad()
def sample_windows(
    networks: Networks, manifest: Manifest, store: FeatureStore, windows: int, seed: int,
) -> list[SampledWindow]:
    """Return at most `windows` windows of a store, drawn by the seed."""
    length = manifest.context_length + manifest.steps
    starts = [(clip, start) for clip in store.clips
              for start in range(store.features.shape[1] - length + 1)]
    generator = np.random.default_rng(seed)
    found = []
    for number in generator.permutation(len(starts))[:windows]:
        clip, start = starts[number]
        frames = slice(start, start + length)
        features = torch.from_numpy(np.array(store.features[clip, frames])).float()
        present = manifest.context_length - 1
        tokens, weights = _futures(
            networks, manifest, features[:present + 1], store.times[clip, frames], generator)
        found.append(SampledWindow(
            features[present:], np.array(store.labels[clip, frames][present:]), tokens, weights))
    return found


def _futures(
    networks: Networks, manifest: Manifest, context: Tensor, times: np.ndarray,
    generator: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Return the tokens (K, S, Dz) and weights (K,) that the node would choose."""
    deltas = networks.tokenizer.encode(context[:-1], context[1:])
    anchor = networks.tokenizer.encode_with_anchor(context[:1], context[:1])[1]
    tokens = torch.cat([anchor, deltas])[None]
    now = times[manifest.context_length - 1]
    ahead = now + manifest.stride * np.arange(1, manifest.steps + 1)
    moments = np.concatenate([times[:manifest.context_length], ahead]) - now
    tables = time_table(torch.from_numpy(moments), torch.tensor(
        manifest.rotary_frequencies, dtype=torch.float64))
    noise = torch.from_numpy(sample_noise(
        manifest, manifest.queries, manifest.num_samples, generator))
    sampled = networks.world.rollout(tokens, (tables[0][None], tables[1][None]), noise[None])[0]
    chosen, weights = select_futures(
        sampled.numpy(), manifest.num_futures, manifest.selection_dimensions,
        averaged=manifest.fused == 'tokens')
    return torch.from_numpy(chosen), torch.from_numpy(weights)
