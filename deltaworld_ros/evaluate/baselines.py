# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Forecasts without a predictor, which every result is printed beside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.bundle.arrays import read_arrays
from deltaworld_ros.errors import UserError


@dataclass(frozen=True)
class Baselines:
    """Blur kernels (S,D,3,3), one a lead and feature, and the mean training token (Dz,)."""

    blur: np.ndarray
    mean_token: np.ndarray


def load_baselines(bundle: Bundle) -> Baselines | None:
    """
    Read the baselines that were fitted on the bundle's training data.

    None where the bundle has none: one of converted checkpoints comes without training data.
    """
    manifest = bundle.manifest
    if 'baselines.npz' not in manifest.files:
        return None
    path = bundle.file('baselines.npz')
    arrays = read_arrays(bundle.read('baselines.npz'), path, ['blur', 'mean_token'])
    blur, mean_token = (arrays[name].astype(np.float32) for name in ('blur', 'mean_token'))
    expected = (manifest.steps, manifest.feature_size, 3, 3)
    if blur.shape != expected or mean_token.shape != (manifest.token_size,):
        raise UserError(
            f'{path}: blur {blur.shape} and mean_token {mean_token.shape} must have the shapes '
            f'{expected} and {(manifest.token_size,)}')
    return Baselines(blur, mean_token)


def blur_features(features: np.ndarray, kernels: np.ndarray, rows: int) -> np.ndarray:
    """Filter features (N,D) of `rows` rows with one 3x3 kernel a feature (D,3,3), edges padded."""
    grid = features.reshape(rows, -1, features.shape[-1])
    columns = grid.shape[1]
    padded = np.pad(grid, ((1, 1), (1, 1), (0, 0)), mode='edge')
    blurred = np.zeros_like(grid)
    for y in range(3):
        for x in range(3):
            blurred += padded[y:y + rows, x:x + columns] * kernels[:, y, x]
    return blurred.reshape(features.shape)
