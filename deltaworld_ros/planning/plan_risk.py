# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The risk of a planned motion in the futures that were forecast under it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.planning.corridor import Corridor, nearest_ahead
from deltaworld_ros.planning.obstacles import Obstacles
from deltaworld_ros.planning.risk import AMPLE, Braking, Risk, summarise

_MIN_SPEED = 0.05   # m/s; slower than this a motion has no curvature


def assess_plan(obstacles: Obstacles, motion: NDArray[np.floating], leads: Sequence[float],
                weights: NDArray[np.floating], half_width: float, front: float, braking: Braking,
                level: float) -> Risk:
    """
    Return whether the robot could still stop at each lead (S,) if it moves as planned until then.

    `obstacles` of each lead are seen from where the robot is at that lead; `motion` (S, 2) is its
    speed in m/s and yaw rate in rad/s then. A margin is the free way on the planned curve, less
    the way to a stop and the standstill distance. `half_width` and `front` are those of
    `Corridor`, `level` is that of `cvar`.
    """
    table = np.empty((len(weights), len(leads)))
    for step, (planned, turn) in enumerate(motion):
        speed = max(0.0, float(planned))
        curvature = float(turn) / speed if speed > _MIN_SPEED else 0.0
        free = nearest_ahead(
            obstacles, Corridor(curvature, half_width, front), leads[step:step + 1], len(weights))
        table[:, step] = free[:, 0] - float(braking.stopping_distance(speed)) - braking.standstill
    return summarise(np.minimum(table, AMPLE), leads, weights, level)
