# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fit what the forecasts are compared with: a blur of the last frame and the mean token."""

import numpy as np
import torch
import torch.nn.functional as F

from deltaworld_ros.model.protocols import Tokenizer
from deltaworld_training.data.feature_store import FeatureStore
from deltaworld_training.stages.heads import as_maps

MEAN_CLIPS = 300


def fit_blur(
    stores: list[FeatureStore], grid: tuple[int, int], context: int, steps: int, windows: int,
    seed: int,
) -> np.ndarray:
    """
    Fit one 3x3 kernel a channel and lead that maps the last frame to the future one.

    Returns (S, D, 3, 3), by least squares over random windows of all stores, padded at the
    edges by repetition.
    """
    generator = np.random.default_rng(seed)
    size = stores[0].features.shape[-1]
    moments = np.zeros((steps, size, 9, 9))
    products = np.zeros((steps, size, 9))
    for store in stores:
        for clip in generator.choice(store.clips, windows // len(stores)):
            features = torch.from_numpy(store.features[clip]).float()
            last = as_maps(features[context - 1:context], grid)
            padded = F.pad(last, (1, 1, 1, 1), mode='replicate')
            patches = F.unfold(padded, 3).unflatten(1, (size, 9))[0].double()
            gram = (patches @ patches.transpose(1, 2)).numpy()
            for step in range(steps):
                future = features[context + step].T[:, :, None].double()
                moments[step] += gram
                products[step] += (patches @ future)[..., 0].numpy()
    regular = moments + 1e-3 * np.eye(9)
    kernels = np.linalg.solve(regular, products[..., None])[..., 0]
    return kernels.reshape(steps, size, 3, 3).astype(np.float32)


@torch.no_grad()
def mean_token(tokenizer: Tokenizer, stores: list[FeatureStore]) -> np.ndarray:
    """
    Return the mean delta token (Dz,) of the stores, every store counting alike.

    A part of each store's clips is enough for a mean.
    """
    means = []
    for store in stores:
        sums = []
        for clip in store.clips[:MEAN_CLIPS]:
            features = torch.from_numpy(np.array(store.features[clip])).float()
            sums.append(tokenizer.encode(features[:-1], features[1:]).double().mean(0).numpy())
        means.append(np.mean(sums, axis=0))
    return np.mean(means, axis=0).astype(np.float32)
