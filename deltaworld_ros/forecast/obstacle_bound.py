# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A lower bound of forecast distances that holds as often as promised, learned while driving."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

Distances = NDArray[np.float64]

COVERAGE = 0.95
KEPT = 100         # forecasts whose errors the bound is taken from
LEAST = 10         # fewer give no bound
RATE = 0.05        # how fast the level follows what happens
RECENT = 20        # bounded forecasts that the alarm looks at
LEAST_RECENT = 10


class ObstacleBound:
    """
    Adaptive conformal inference (Gibbs and Candès, 2021) for the distance in each image column.

    "The nearest obstacle in this column is not closer than the bound" holds for `coverage` of the
    columns in the long run, whatever the errors do: when it held too seldom, the bound becomes
    more careful. The error of a column is 1 - true / forecast distance, and the bound is the
    forecast times 1 - its quantile. Distances (b,) are in metres, more than 0 and at most
    `maximum`, which stands for free. One object serves one lead of one camera.
    """

    def __init__(self, maximum: float, coverage: float = COVERAGE) -> None:
        self._maximum, self._wanted = maximum, 1 - coverage
        self._level = self._wanted
        self._errors: deque[Distances] = deque(maxlen=KEPT)
        self._missed: deque[float] = deque(maxlen=RECENT)

    def bound(self, forecast: Distances) -> Distances | None:
        """Return the bound (b,) of forecast distances; None before enough was learned."""
        if len(self._errors) < LEAST:
            return None
        if self._level <= 0:
            return np.zeros_like(forecast)
        quantile = np.quantile(np.concatenate(self._errors), 1 - min(self._level, 1.0))
        return np.minimum(forecast * (1 - quantile), self._maximum)

    def learn(self, forecast: Distances, bound: Distances | None, truth: Distances) -> None:
        """Take in what came of a forecast and of its bound, in the order of the truths."""
        if not truth.size:
            return
        self._errors.append(1 - truth / forecast)
        if bound is not None:
            missed = float(np.mean(truth < bound))
            self._level += RATE * (self._wanted - missed)
            self._missed.append(missed)

    @property
    def recent_coverage(self) -> float | None:
        """Return the share of the columns in which recent bounds held, None without any."""
        return 1 - float(np.mean(self._missed)) if self._missed else None

    @property
    def alarm(self) -> bool:
        """Say whether the bound has lately failed twice as often as promised, or is 0 for it."""
        return self._level <= 0 or len(self._missed) >= LEAST_RECENT and \
            float(np.mean(self._missed)) > 2 * self._wanted
