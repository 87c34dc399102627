# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fit the feature basis: standardise the backbone's levels and project them by a PCA."""

import numpy as np
import torch

from deltaworld_ros.model.efficientnet import EfficientNetLite0
from deltaworld_training.data.clip import ClipSource
from deltaworld_training.data.extractor import FeatureExtractor


def sample_levels(
    sources: list[ClipSource], clips: int, extractor: FeatureExtractor,
) -> np.ndarray:
    """Return the levels of the first and last frame of some clips of each source, (n, 472)."""
    rows = []
    for source in sources:
        for index in range(min(clips, len(source))):
            frames = source.clip(index).frames
            rows.append(extractor.levels(frames[[0, -1]]).reshape(-1, extractor.matrix.shape[0]))
    return np.concatenate(rows)


def fit_feature_basis(backbone: EfficientNetLite0, levels: np.ndarray) -> float:
    """
    Set the backbone's level statistics and projection; return the share of variance kept.

    The projection is scaled so that a feature's values have a mean square of one.
    """
    mean, std, matrix, share = principal_components(levels, backbone.feature_size)
    backbone.level_mean.copy_(torch.from_numpy(mean))
    backbone.level_std.copy_(torch.from_numpy(std))
    backbone.projection.copy_(torch.from_numpy(matrix))
    return share


def principal_components(
    levels: np.ndarray, count: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """
    Return mean and deviation (L,) of levels (n, L), and the projection (L, count) of what is left.

    It is scaled so that a feature's values have a mean square of one. The last value is the share
    of variance that it keeps.
    """
    mean, std = levels.mean(0), levels.std(0) + 1e-6
    standard = ((levels - mean) / std).astype(np.float64)
    variances, vectors = np.linalg.eigh(standard.T @ standard / len(standard))
    kept = slice(-1, -count - 1, -1)
    scale = np.sqrt(count / variances[kept].sum())
    return mean, std, vectors[:, kept] * scale, float(
        variances[kept].sum() / variances.sum())


def basis_matrix(backbone: EfficientNetLite0) -> tuple[np.ndarray, np.ndarray]:
    """Return the backbone's basis as one matrix (472, D) and an offset (D,)."""
    matrix = (backbone.projection / backbone.level_std[:, None]).numpy()
    return matrix, -(backbone.level_mean.numpy() @ matrix)
