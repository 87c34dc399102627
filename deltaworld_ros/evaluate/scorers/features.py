# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Squared errors of features relative to repeating the last frame, and how far futures differ."""

from __future__ import annotations

from typing import Any

import numpy as np

from deltaworld_ros.evaluate.pairs import Pair
from deltaworld_ros.evaluate.scorers.scorer import Sums, ratio
from deltaworld_ros.forecast.differences import mean_squared

_SPREAD = 'spread'


class FeatureScorer:
    """Adds mean squared errors; a ratio of sums, so that calm moments count little."""

    name = 'features'

    def measure(self, pair: Pair) -> Sums:
        """Return for each column the mean squared error, and the variance of the futures."""
        sums = {
            column: np.asarray(sum(one.weight * mean_squared(one.features, pair.truth.features)
                                   for one in candidates))
            for column, candidates in pair.columns.items()}
        mean = pair.columns['fused'][0].features
        sums[_SPREAD] = np.asarray(sum(one.weight * mean_squared(one.features, mean)
                                       for one in pair.columns['mean_of_futures']))
        return sums

    def scores(self, sums: Sums) -> dict[str, Any]:
        """Return errors and spread divided by the error of copy-last, NaN where nothing moved."""
        relative = {name: float(ratio(one, sums['copy_last'])) for name, one in sums.items()}
        spread = relative.pop(_SPREAD)
        return {'feature_error': relative, 'spread': spread}

    def errors(self, sums: Sums) -> dict[str, dict[str, np.ndarray]]:
        """Return the squared errors."""
        return {'features': {name: one for name, one in sums.items() if name != _SPREAD}}


def smooth_l1(first: np.ndarray, second: np.ndarray, beta: float = 0.1) -> np.ndarray:
    """
    Return the smooth-L1 distance averaged over the last two axes.

    This is the paper's distance for choosing the best of many samples.
    """
    gap = np.abs(first - second)
    small = np.minimum(gap, beta)
    loss = 0.5 * small ** 2 / beta + (gap - small)
    return loss.mean(axis=(-2, -1), dtype=np.float64)
