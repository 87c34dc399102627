# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The frozen backbone: published weights, and a PCA of its levels as its feature basis."""

from typing import Any

import numpy as np
import torch

from deltaworld_ros.model.networks import build_part
from deltaworld_ros.model.protocols import Backbone, Projected
from deltaworld_training.data.clip import ClipSource


def new_backbone(
    sizes: dict[str, Any], sources: list[ClipSource], clips: int,
) -> tuple[Backbone, float | None]:
    """
    Return a backbone with its published weights, and the share of variance that its basis keeps.

    A basis is fitted to some clips of each source; where the backbone has none the share is None.
    """
    backbone: Any = build_part('backbone', sizes)
    backbone.load_published()
    kept = None
    if isinstance(backbone, Projected):
        kept = fit_feature_basis(backbone, sample_levels(backbone, sources, clips))
    return backbone, kept


@torch.no_grad()
def sample_levels(backbone: Projected, sources: list[ClipSource], clips: int) -> np.ndarray:
    """Return the levels of the first and last frame of some clips of each source, (n, L)."""
    rows = []
    for source in sources:
        for index in range(min(clips, len(source))):
            frames = torch.from_numpy(source.clip(index).frames[[0, -1]])
            rows.append(backbone.levels(frames.permute(0, 3, 1, 2)).flatten(0, 1).numpy())
    return np.concatenate(rows)


def fit_feature_basis(backbone: Projected, levels: np.ndarray) -> float:
    """
    Set the statistics and the projection of levels (n, L); return the share of variance kept.

    The projection is scaled so that a feature's values have a mean square of one.
    """
    mean, std, matrix, share = principal_components(levels, backbone.projection.shape[1])
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
