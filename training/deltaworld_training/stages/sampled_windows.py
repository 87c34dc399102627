# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Windows of a store with the futures that the node would choose for them."""

from collections.abc import Iterator
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


def sample_windows(
    networks: Networks, manifest: Manifest, store: FeatureStore, windows: int, seed: int,
) -> list[SampledWindow]:
    """Return at most `windows` windows of a store, drawn by the seed."""
    generator = np.random.default_rng(seed)
    present = manifest.context_length - 1
    found = []
    for features, labels, times in drawn_windows(manifest, store, windows, generator):
        noise = sample_noise(manifest, manifest.queries, manifest.num_samples, generator)
        tokens, weights = select_futures(
            sample_tokens(networks, manifest, features[:present + 1], times, noise),
            manifest.num_futures, manifest.selection_dimensions,
            averaged=manifest.fused == 'tokens')
        found.append(SampledWindow(
            features[present:], labels[present:], torch.from_numpy(tokens),
            torch.from_numpy(weights)))
    return found


def drawn_windows(
    manifest: Manifest, store: FeatureStore, windows: int, generator: np.random.Generator,
) -> Iterator[tuple[Tensor, np.ndarray, np.ndarray]]:
    """
    Yield at most `windows` windows of a store in random order.

    Each is features (T + S, N, D), labels (T + S, a, b) and times (T + S,) in s.
    """
    length = manifest.context_length + manifest.steps
    starts = [(clip, start) for clip in store.clips
              for start in range(store.features.shape[1] - length + 1)]
    for number in generator.permutation(len(starts))[:windows]:
        clip, start = starts[number]
        frames = slice(start, start + length)
        yield (torch.from_numpy(np.array(store.features[clip, frames])).float(),
               np.array(store.labels[clip, frames]), store.times[clip, frames])


@torch.no_grad()
def sample_tokens(
    networks: Networks, manifest: Manifest, context: Tensor, times: np.ndarray,
    noise: np.ndarray,
) -> np.ndarray:
    """Return the tokens (M, S, Dz) after a context for noise queries (M, S, W)."""
    deltas = networks.tokenizer.encode(context[:-1], context[1:])
    anchor = networks.tokenizer.encode_with_anchor(context[:1], context[:1])[1]
    tokens = torch.cat([anchor, deltas])[None]
    now = times[manifest.context_length - 1]
    ahead = now + manifest.stride * np.arange(1, manifest.steps + 1)
    moments = np.concatenate([times[:manifest.context_length], ahead]) - now
    tables = time_table(torch.from_numpy(moments), torch.tensor(
        manifest.rotary_frequencies, dtype=torch.float64))
    sampled = networks.world.rollout(
        tokens, (tables[0][None], tables[1][None]), torch.from_numpy(noise)[None])[0]
    return np.asarray(sampled.numpy())
