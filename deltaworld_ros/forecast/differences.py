# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How far what was forecast is from what came: features and depth, as sums that add up."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def mean_squared(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean squared difference over the last two axes (patches, features)."""
    gap = first - second
    return np.einsum('...nd,...nd->...', gap, gap, dtype=np.float64) / (
        gap.shape[-1] * gap.shape[-2])


def depth_sums(predicted: NDArray[Any], truth: NDArray[Any], minimum: float,
               maximum: float) -> NDArray[np.float64]:
    """
    Return pixels, squared and relative errors and pixels within 1.25 (4,) of maps (a, b) in m.

    Only pixels whose truth lies between `minimum` and `maximum`, both outside, count.
    """
    with np.errstate(invalid='ignore'):
        valid = (truth > minimum) & (truth < maximum)
    true = truth[valid].astype(np.float64)
    guess = np.maximum(predicted[valid].astype(np.float64), 1e-9)
    error = guess - true
    near = np.count_nonzero(np.maximum(guess / true, true / guess) < 1.25)
    return np.array([true.size, np.sum(error ** 2), np.sum(np.abs(error) / true), near])
