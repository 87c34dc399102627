# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What scorers see: every way of forecasting at one lead, beside what came."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UNLABELLED = 255


@dataclass(frozen=True)
class Candidate:
    """
    One forecast of one lead, and its share of a column.

    Features (N,D), labels (a,b) uint8 class ids, depth (a,b) in metres of the camera.
    """

    features: np.ndarray
    labels: np.ndarray
    depth: np.ndarray
    weight: float = 1.0


@dataclass(frozen=True)
class Truth:
    """What came: features (N,D), labels (a,b), 255 unlabelled, depth (a,b) m, NaN unknown."""

    features: np.ndarray
    labels: np.ndarray
    depth: np.ndarray


@dataclass(frozen=True)
class Pair:
    """
    One lead of one forecast beside what came.

    A column is one candidate, or several whose weights sum to one (`mean_of_futures` holds the K
    futures by descending weight). `confidence` (a,b) in 0..1 belongs to the column `fused`.
    """

    columns: dict[str, list[Candidate]]
    confidence: np.ndarray
    truth: Truth
