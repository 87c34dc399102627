# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Plans and odometry as the motion that a predictor is told, and the risk of a plan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deltaworld_ros.errors import UserError
from deltaworld_ros.planning.obstacles import Obstacles
from deltaworld_ros.planning.odometry import Ego
from deltaworld_ros.planning.plan import Plan, past_motion, planned_motion
from deltaworld_ros.planning.plan_risk import assess_plan
from deltaworld_ros.planning.pose import Pose, Twist, rotation_of_angles
from deltaworld_ros.planning.risk import Braking

LEADS = (0.2, 0.4, 0.6)
NOW = 1_700_000_000_000_000_000


def pose(x: float, y: float = 0.0, heading: float = 0.0) -> Pose:
    return Pose(rotation_of_angles(0, 0, heading), np.array([x, y, 0.0]))


def plan(*steps: tuple[float, Pose]) -> Plan:
    return Plan(tuple(NOW + round(time * 1e9) for time, _ in steps),
                tuple(pose for _, pose in steps))


def test_steps_are_means_over_the_leads() -> None:
    """10 m/s until 0.3 s, then 4 m/s, and on at that: the middle step has half of each."""
    given = plan((0.0, pose(0)), (0.3, pose(3)), (0.5, pose(3.8)))
    assert planned_motion(given, NOW, LEADS)[:, 0] == pytest.approx([10.0, 7.0, 4.0])


def test_a_plan_goes_on_as_it_begins_and_ends() -> None:
    """One that begins after the image is carried back; a turn keeps its rate."""
    twist = Twist(np.array([5.0, 0, 0]), np.array([0, 0, 0.4]))
    given = plan((0.1, twist.after(0.1)), (0.2, twist.after(0.2)))
    assert planned_motion(given, NOW, LEADS) == pytest.approx(
        np.tile([5.0, 0.4], (3, 1)), rel=1e-3)


@pytest.mark.parametrize('steps, text', [
    ([], 'plan: has 0 poses; at least two with stamps are needed'),
    ([(0.0, pose(0))], 'plan: has 1 poses'),
    ([(0.0, pose(0)), (0.2, pose(np.nan))], 'plan: pose 1 holds values that are not finite'),
    ([(0.2, pose(0)), (0.2, pose(1))], 'plan: the stamp of pose 1 is not after'),
    ([(-2.0, pose(0)), (-1.0, pose(5))], r'plan: ended 1\.00 s before the image'),
    ([(0.6, pose(0)), (1.0, pose(5))], r'plan: begins 0\.60 s after the image'),
    ([(0.0, pose(0)), (0.5, pose(0, 4))], r'after pose 0 the robot moves sideways at 8\.0 m/s'),
])
def test_what_is_no_plan_is_named(steps: list[Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        planned_motion(plan(*steps), NOW, LEADS)


def ego(time: float, x: float, speed: float = 9.0, frame: str = 'odom') -> Ego:
    return Ego(NOW + round(time * 1e9), frame, pose(x),
               Twist(np.array([speed, 0, 0]), np.array([0, 0, 0.1])))


def test_past_motion_is_that_of_the_poses() -> None:
    """The first frame has its twist; what odometry does not know stays unknown."""
    found = past_motion([ego(-0.4, 0), ego(-0.2, 1), ego(0.0, 1.5)])
    assert found == pytest.approx(np.array([[9.0, 0.1], [5.0, 0.0], [2.5, 0.0]]))
    found = past_motion(['none has arrived', ego(-0.2, 1), 'older', ego(0.2, 4, frame='map')])
    assert found[1] == pytest.approx([9.0, 0.1]) and found[3] == pytest.approx([9.0, 0.1])
    assert np.isnan(found[[0, 2]]).all()
    assert np.isnan(past_motion([ego(0.0, 0), ego(0.2, 1, frame='map')])[1]).all()


def test_risk_is_whether_the_robot_could_still_stop() -> None:
    """Two futures: in the lighter one something stands 9 m ahead at 0.4 s."""
    # The second is beside the corridor.
    points = np.array([[9.0, 0.0, 0.5], [4.0, 3.0, 0.5]], np.float32)
    obstacles = Obstacles(
        points, np.zeros(2, np.uint8), np.ones(2, bool), np.array([0.3, 0.7], np.float32),
        np.array([0.4, 0.4], np.float32), np.array([1, 0], np.int16))
    weights = np.array([0.7, 0.3], np.float32)
    braking = Braking(0.5, 4.0, 1.0)

    def risk(*speeds: float) -> Any:
        motion = np.array([[speed, 0.0] for speed in speeds])
        return assess_plan(obstacles, motion, LEADS, weights, 1.0, 0.0, braking, 0.2)
    goes_on, brakes = risk(8.0, 8.0, 8.0), risk(6.0, 4.0, 2.0)   # 12 m and 4 m to a stop
    assert goes_on.probability == pytest.approx([0.0, 0.3, 0.0])
    assert goes_on.cvar[1] == pytest.approx(9.0 - 12.0 - 1.0)
    assert goes_on.first_conflict == 0.4
    assert brakes.any_probability == 0.0 and brakes.first_conflict is None
