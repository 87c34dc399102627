# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fit the compact tokenizer's two frozen linear codes."""

import numpy as np
import torch
from torch import Tensor

from deltaworld_ros.model.compact_tokenizer import CompactDeltaTok, LinearCode
from deltaworld_training.data.feature_store import FeatureStore


def pooled_maps(tokenizer: CompactDeltaTok, features: np.ndarray) -> Tensor:
    """Return the 2 x 2 pooled maps of features (B, N, D) as (B, P, D)."""
    return tokenizer.patches.join(torch.from_numpy(features).float()).mean(2)


def fit_linear_code(code: LinearCode, maps: Tensor, centred: bool) -> None:
    """
    Fit a linear code by two PCAs, of the channels and of the reduced maps.

    Codes get a mean square of one. Changes are coded around zero, so that no change is the
    zero token; frames around their mean.
    """
    channels = code.channel_basis.shape[1]
    flat = maps.flatten(0, 1).double()
    mean = maps.mean(0) if centred else torch.zeros_like(maps[0])
    flat = (maps - mean).flatten(0, 1).double()
    vectors = torch.linalg.eigh(flat.T @ flat)[1]
    code.channel_basis.copy_(vectors.flip(1)[:, :channels])
    reduced = code.reduce(maps)
    code.mean.copy_(reduced.mean(0) if centred else torch.zeros_like(reduced[0]))
    rest = (reduced - code.mean).double()
    vectors = torch.linalg.eigh(rest.T @ rest)[1]
    code.basis.copy_(vectors.flip(1)[:, :code.basis.shape[1]])
    code.scale.fill_(1.0)
    code.scale.copy_(code.encode(maps).square().mean().rsqrt())


def fit_codes(
    tokenizer: CompactDeltaTok, stores: list[FeatureStore], frames: int, seed: int,
) -> None:
    """Fit both linear codes on random frames and changes, as many from each store."""
    generator = np.random.default_rng(seed)
    now, change = [], []
    for store in stores:
        picked = generator.choice(store.clips, frames // len(stores))
        at = generator.integers(1, store.features.shape[1], len(picked))
        current = pooled_maps(tokenizer, store.features[picked, at])
        now.append(current)
        change.append(current - pooled_maps(tokenizer, store.features[picked, at - 1]))
    fit_linear_code(tokenizer.anchor_code, torch.cat(now), centred=True)
    fit_linear_code(tokenizer.delta_code, torch.cat(change), centred=False)
