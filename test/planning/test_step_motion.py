# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Speed and yaw rate of steps between places."""

import numpy as np
import pytest

from deltaworld_ros.planning.pose import Twist
from deltaworld_ros.planning.step_motion import step_motion


def test_a_constant_twist_comes_back() -> None:
    """Places on a circle, at uneven times, give its speed (to the chord) and its yaw rate."""
    twist = Twist(np.array([8.0, 0, 0]), np.array([0, 0, 0.5]))
    times = np.array([0.0, 0.2, 0.5, 0.6])
    poses = [twist.after(time) for time in times]
    places = [[*pose.translation[:2], 2.9 + 0.5 * time] for pose, time in zip(
        poses, times, strict=True)]
    turned = np.array(places) @ np.array([   # as a whole by 2.9 rad, so that headings pass pi
        [np.cos(2.9), np.sin(2.9), 0], [-np.sin(2.9), np.cos(2.9), 0], [0, 0, 1]])
    turned[:, 2] = (turned[:, 2] + np.pi) % (2 * np.pi) - np.pi
    found = step_motion(turned, times)
    assert found[:, 0] == pytest.approx(8.0, rel=2e-3)
    assert found[:, 1] == pytest.approx(0.5)


def test_going_backwards_is_a_negative_speed() -> None:
    assert step_motion([[0, 0, np.pi / 2], [0, -0.4, np.pi / 2]], [1.0, 1.2])[0] == pytest.approx(
        [-2.0, 0.0])
