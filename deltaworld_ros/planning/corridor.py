# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The way that a robot sweeps when it keeps its curvature, and what is nearest in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.planning.obstacles import EVERY_FUTURE, Obstacles

_STRAIGHT = 1e-5   # 1/m


@dataclass(frozen=True)
class Corridor:
    """
    A path of constant curvature (1/m, left is positive) and the room that the robot needs, in m.

    `half_width` is that of the robot and what must stay free beside it; `front` is from the origin
    of its frame to its foremost point.
    """

    curvature: float
    half_width: float
    front: float

    def along(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return how far (n,) in m the front is from points (n, 2+); inf for those beside."""
        x, y = points[:, 0].astype(np.float64), points[:, 1].astype(np.float64)
        if abs(self.curvature) < _STRAIGHT:
            along, beside = x, y
        else:
            radius = 1 / self.curvature
            # The angle about the centre of the turn, which lies at (0, radius).
            angle = np.arctan2(x, np.sign(radius) * (radius - y))
            along = angle * abs(radius)
            beside = np.hypot(x, y - radius) - abs(radius)
        inside = (np.abs(beside) <= self.half_width) & (along > 0)
        return np.where(inside, np.maximum(along - self.front, 0.0), np.inf)


def nearest_ahead(obstacles: Obstacles, corridor: Corridor, leads: Sequence[float],
                  num_futures: int) -> NDArray[np.float64]:
    """
    Return the distance (K, S) in m to the nearest obstacle of each future and lead, inf if none.

    What is there in every future counts in each; `leads` (s) may include 0 for the present.
    """
    along = corridor.along(obstacles.points)
    free = np.full((num_futures, len(leads)), np.inf)
    for place, lead in enumerate(leads):
        now = np.abs(obstacles.lead - lead) < 1e-3
        for future in range(num_futures):
            mine = now & ((obstacles.future == future) | (obstacles.future == EVERY_FUTURE))
            if mine.any():
                free[future, place] = along[mine].min()
    return free
