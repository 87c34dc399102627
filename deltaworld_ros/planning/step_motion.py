# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Speed and yaw rate over the steps between places of a robot on the ground."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def step_motion(places: ArrayLike, times: ArrayLike) -> NDArray[np.float64]:
    """
    Return the mean speed (m/s, forward) and yaw rate (rad/s, to the left) of each step (n, 2).

    Places (n + 1, 3) are x, y in m and the heading in rad at times (n + 1,) in s. A heading
    changes by less than half a turn in a step.
    """
    places, times = np.asarray(places, np.float64), np.asarray(times, np.float64)
    seconds = np.diff(times)
    turn = (np.diff(places[:, 2]) + np.pi) % (2 * np.pi) - np.pi
    middle = places[:-1, 2] + 0.5 * turn
    moved = np.diff(places[:, :2], axis=0)
    forward = np.cos(middle) * moved[:, 0] + np.sin(middle) * moved[:, 1]
    return np.stack([forward / seconds, turn / seconds], axis=1)
