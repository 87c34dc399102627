# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a future's weight is the share of the cases in which it was the closest one."""

from __future__ import annotations

from typing import Any

import numpy as np

from deltaworld_ros.evaluate.pairs import Pair
from deltaworld_ros.evaluate.scorers.calibration import reliability
from deltaworld_ros.evaluate.scorers.features import smooth_l1
from deltaworld_ros.evaluate.scorers.scorer import Sums, ratio


class WeightScorer:
    """Adds up what the weights promised and which future was the closest."""

    name = 'weights'

    def measure(self, pair: Pair) -> Sums:
        """Return for each future, heaviest first, its weight and whether it was the closest."""
        futures = pair.columns['mean_of_futures']
        distance = [smooth_l1(one.features, pair.truth.features) for one in futures]
        closest = np.zeros(len(futures))
        closest[int(np.argmin(distance))] = 1
        promised = np.array([one.weight for one in futures], np.float64)
        return {'promised': promised, 'closest': closest, 'forecasts': np.ones(1),
                'bins': reliability(promised, closest)}

    def scores(self, sums: Sums) -> dict[str, Any]:
        """
        Return by place in the order the mean weight and the share of being the closest.

        `reliability` has the same by weight, in ten bins: of the futures with about this weight.
        """
        futures, best, weights = sums['bins']
        weight = ratio(sums['promised'], sums['forecasts'])
        share = ratio(sums['closest'], sums['forecasts'])
        return {'weights': {
            'mean_weight': weight.tolist(),
            'best_share': share.tolist(),
            # Total variation: 0 where the weights are right, 1 where they are all wrong.
            'calibration_error': float(np.abs(weight - share).sum() / 2),
            'reliability': {
                'weight': ratio(weights, futures).tolist(),
                'best_share': ratio(best, futures).tolist(),
                'futures': [int(count) for count in futures]},
        }}

    def errors(self, sums: Sums) -> dict[str, dict[str, np.ndarray]]:
        """Return nothing: copy-last has no weights."""
        return {}
