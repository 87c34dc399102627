# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The distance of the nearest obstacle in each image column, as a planner reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deltaworld_ros.bundle.semantic_class import SemanticClass
from deltaworld_ros.evaluate.pairs import Pair, Truth
from deltaworld_ros.evaluate.scorers.scorer import Sums, ratio
from deltaworld_ros.forecast.nearest_obstacle import NearestObstacle

_PROPER = ('crps', 'energy')


class ObstacleScorer:
    """
    Absolute errors of the nearest distance, and proper scores of the K weighted futures.

    Distances end at `maximum` metres, the farthest that the bundle can tell: a column without an
    obstacle is free up to there. Image columns whose truth is unknown are left out.
    """

    name = 'obstacles'

    def __init__(self, classes: Sequence[SemanticClass], maximum: float) -> None:
        self.nearest = NearestObstacle(classes, maximum)
        self._num_classes = len(classes)

    def measure(self, pair: Pair) -> Sums:
        """Return for each column the summed error and count; of the futures CRPS and energy."""
        true, known = self.truth(pair.truth)
        count = np.count_nonzero(known)
        sums = {}
        futures, weights = np.zeros((0, count)), np.zeros(0)
        for column, candidates in pair.columns.items():
            found = np.stack([self.nearest.distances(one.labels, one.depth) for one in candidates])
            found, shares = found[:, known], np.array([one.weight for one in candidates])
            error = shares @ np.abs(found - true[known])
            sums[column] = np.array([error.sum(), count])
            if column == 'mean_of_futures':
                futures, weights = found, shares
        sums['crps'] = np.array([crps(futures, weights, true[known]).sum(), count])
        energy = energy_score(futures, weights, true[known]) if count else 0.0
        sums['energy'] = np.array([energy, float(count > 0)])
        return sums

    def truth(self, truth: Truth) -> tuple[np.ndarray, np.ndarray]:
        """Return the true distance (b,) in m of each column and whether it is known."""
        true = self.nearest.distances(truth.labels, truth.depth)
        unlabelled = (truth.labels >= self._num_classes).all(axis=0)
        # An obstacle without any known distance says nothing about how near it is.
        hidden = self.nearest.obstacles[truth.labels] & ~np.isfinite(truth.depth)
        return true, ~unlabelled & ~(hidden.any(axis=0) & (true >= self.nearest.maximum))

    def scores(self, sums: Sums) -> dict[str, Any]:
        """Return mean absolute errors (m) by column, and CRPS and energy score of the futures."""
        return {
            'obstacle_error': {name: float(_mean(one)) for name, one in sums.items()
                               if name not in _PROPER},
            'obstacle_crps': float(_mean(sums['crps'])),
            'obstacle_energy': float(_mean(sums['energy'])),
        }

    def errors(self, sums: Sums) -> dict[str, dict[str, np.ndarray]]:
        """Return the mean absolute errors."""
        return {'obstacles': {
            name: _mean(one) for name, one in sums.items() if name not in _PROPER}}


def crps(values: np.ndarray, weights: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """
    Return the continuous ranked probability score (n,) of K weighted values (K,n), in their unit.

    E|X - y| - E|X - X'| / 2 (Gneiting and Raftery, 2007): the absolute error where all agree.
    """
    miss = weights @ np.abs(values - truth)
    apart = np.abs(values[:, None] - values[None])
    return miss - 0.5 * np.einsum('k,l,kln->n', weights, weights, apart)


def energy_score(values: np.ndarray, weights: np.ndarray, truth: np.ndarray) -> float:
    """Return the energy score of K weighted vectors (K,n), by root mean square distance."""
    scale = truth.size ** -0.5
    miss = weights @ np.linalg.norm(values - truth, axis=-1)
    apart = np.linalg.norm(values[:, None] - values[None], axis=-1)
    return float(scale * (miss - 0.5 * weights @ apart @ weights))


def _mean(one: np.ndarray) -> np.ndarray:
    return ratio(one[..., 0], one[..., 1])
