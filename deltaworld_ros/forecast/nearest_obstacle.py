# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The distance of the nearest dynamic obstacle in each image column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle.semantic_class import SemanticClass


class NearestObstacle:
    """
    Reads the nearest distances out of labels and depth.

    Distances end at `maximum` metres: a column without an obstacle is free up to there.
    `obstacles` (256,) says which labels are obstacles.
    """

    def __init__(self, classes: Sequence[SemanticClass], maximum: float) -> None:
        self.maximum = maximum
        self.obstacles = np.zeros(256, bool)
        self.obstacles[:len(classes)] = [entry.role == 'dynamic' for entry in classes]

    def distances(self, labels: NDArray[np.uint8], depth: NDArray[np.floating],
                  ) -> NDArray[np.float64]:
        """Return the distances (b,) in m of labels and depth (a, b)."""
        seen = self.obstacles[labels] & np.isfinite(depth)
        nearest = np.where(seen, depth, np.inf).min(axis=0)
        return np.minimum(nearest, self.maximum).astype(np.float64)
