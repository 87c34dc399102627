# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Errors of depth maps in metres, pooled over the known pixels of all forecasts."""

from __future__ import annotations

from typing import Any

import numpy as np

from deltaworld_ros.evaluate.pairs import Pair
from deltaworld_ros.evaluate.scorers.scorer import Sums, ratio
from deltaworld_ros.forecast.differences import depth_sums


class DepthScorer:
    """Scores pixels whose true depth lies between `minimum` and `maximum` metres, both outside."""

    name = 'depth'

    def __init__(self, minimum: float, maximum: float) -> None:
        self._minimum, self._maximum = minimum, maximum

    def measure(self, pair: Pair) -> Sums:
        """Return the sums of `depth_sums` for each column."""
        return {
            column: np.asarray(sum(
                one.weight * depth_sums(one.depth, pair.truth.depth, self._minimum, self._maximum)
                for one in candidates))
            for column, candidates in pair.columns.items()}

    def scores(self, sums: Sums) -> dict[str, Any]:
        """Return RMSE (m), AbsRel and the share within a factor of 1.25 by column."""
        measures = {'depth_rmse': rmse, 'depth_absrel': absrel, 'depth_delta1': delta1}
        return {metric: {column: float(measure(one)) for column, one in sums.items()}
                for metric, measure in measures.items()}

    def errors(self, sums: Sums) -> dict[str, dict[str, np.ndarray]]:
        """Return AbsRel."""
        return {'depth': {column: absrel(one) for column, one in sums.items()}}


def rmse(one: np.ndarray) -> np.ndarray:
    """Return the root of the mean squared error (...) in metres of sums (..., 4)."""
    return np.sqrt(ratio(one[..., 1], one[..., 0]))


def absrel(one: np.ndarray) -> np.ndarray:
    """Return the mean (...) of |error| / truth of sums (..., 4)."""
    return ratio(one[..., 2], one[..., 0])


def delta1(one: np.ndarray) -> np.ndarray:
    """Return the share (...) of pixels within a factor of 1.25 of the truth."""
    return ratio(one[..., 3], one[..., 0])
