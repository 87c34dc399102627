# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How often the online lower bound of the nearest obstacle held in a recording."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from deltaworld_ros.bundle import Manifest
from deltaworld_ros.evaluate.pairs import Pair
from deltaworld_ros.evaluate.scorebook import LeadSums
from deltaworld_ros.evaluate.scorers.obstacles import ObstacleScorer
from deltaworld_ros.evaluate.scorers.scorer import Sums, ratio
from deltaworld_ros.forecast.obstacle_bound import COVERAGE, Distances, ObstacleBound

NAME = 'bound'
# A forecast's distances, its bound and what came.
_Outcome = tuple[Distances, Distances | None, Distances]


class BoundCoverage:
    """
    Bounds the published forecasts of one recording, in their order, and learns from them.

    A bound knows only what had come when its forecast was made.
    """

    def __init__(self, manifest: Manifest, leads: Sequence[float]) -> None:
        self._scorer = ObstacleScorer(manifest.classes, manifest.depth_maximum)
        self._leads_ns = [round(lead * 1e9) for lead in leads]
        self._bounds = [ObstacleBound(manifest.depth_maximum) for _ in leads]
        self._coming: list[deque[tuple[int, _Outcome]]] = [deque() for _ in leads]

    def measure(self, stamp_ns: int, pairs: Sequence[Pair]) -> LeadSums:
        """Return for each lead what a forecast from `stamp_ns` adds; see `bound_scores`."""
        return [{NAME: {NAME: self._measure(lead, stamp_ns, pair)}}
                for lead, pair in enumerate(pairs)]

    def _measure(self, lead: int, stamp_ns: int, pair: Pair) -> np.ndarray:
        bound, coming = self._bounds[lead], self._coming[lead]
        while coming and coming[0][0] <= stamp_ns:
            bound.learn(*coming.popleft()[1])
        truth, known = self._scorer.truth(pair.truth)
        fused = pair.columns['fused'][0]
        forecast = self._scorer.nearest.distances(fused.labels, fused.depth)[known]
        true = truth[known]
        lower = bound.bound(forecast)
        coming.append((stamp_ns + self._leads_ns[lead], (forecast, lower, true)))
        if lower is None:
            return np.zeros(6)
        return np.array([np.count_nonzero(true >= lower), true.size, lower.sum(), true.sum(),
                         float(bound.alarm), 1.0])


def bound_scores(sums: Sums) -> dict[str, Any]:
    """
    Return coverage and mean distances (m) of bound and truth, over the columns of all forecasts.

    `forecasts` had a bound, `alarm` is the share of them in which it had lately failed too often.
    """
    held, columns, lower, truth, alarms, forecasts = sums[NAME]
    return {
        'wanted': COVERAGE, 'coverage': float(ratio(held, columns)),
        'mean_bound': float(ratio(lower, columns)), 'mean_truth': float(ratio(truth, columns)),
        'alarm': float(ratio(alarms, forecasts)), 'forecasts': int(forecasts)}
