# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The corridor, margins to the braking distance, and the tail of weighted futures."""

from __future__ import annotations

import numpy as np
import pytest
from support.road_scenes import INTRINSICS, MOUNT, ROLES, Box, forecast

from deltaworld_ros.planning.corridor import Corridor, nearest_ahead
from deltaworld_ros.planning.obstacles import future_obstacles
from deltaworld_ros.planning.points import lead_cameras
from deltaworld_ros.planning.pose import mount_of_text
from deltaworld_ros.planning.risk import AMPLE, Braking, Trust, assess, cvar, margins

BRAKING = Braking(reaction=0.5, deceleration=4.0, standstill=1.0)


def test_a_straight_corridor():
    along = Corridor(0.0, 1.0, 0.5).along(
        np.array([[5, 0.9, 0], [5, 1.1, 0], [-5, 0, 0], [0.2, 0, 0]]))
    np.testing.assert_allclose(along, [4.5, np.inf, np.inf, 0])


@pytest.mark.parametrize('side', [1, -1])
def test_a_curve_sweeps_its_circle(side: int):
    """A quarter of a circle of 10 m to the left ends at (10, 10), after 15.7 m."""
    corridor = Corridor(side / 10, 1.0, 0.0)
    along = corridor.along(np.array([[10, 10 * side, 0], [10, 0, 0], [5, -5 * side, 0]]))
    np.testing.assert_allclose(along, [5 * np.pi, np.inf, np.inf])


def test_the_worst_share_takes_its_boundary_by_part():
    values = np.array([3.0, -1.0, 1.0])
    weights = [0.5, 0.2, 0.3]
    assert cvar(values, weights, 0.2) == pytest.approx(-1)
    # 0.2 of -1 and 0.2 of the 0.3 that 1 weighs.
    assert cvar(values, weights, 0.4) == pytest.approx((0.2 * -1 + 0.2 * 1) / 0.4)
    assert cvar(values, weights, 1.0) == pytest.approx(np.dot(values, weights))
    assert cvar(values, np.multiply(weights, 7), 0.1) == pytest.approx(-1)


def test_the_way_of_a_braking_robot():
    assert BRAKING.stopping_distance(8.0) == pytest.approx(4 + 8)
    assert BRAKING.distance(8.0, 0.25) == pytest.approx(2)
    assert BRAKING.distance(8.0, 1.5) == pytest.approx(4 + 8 - 0.5 * 4)
    assert BRAKING.distance(8.0, 100.0) == pytest.approx(BRAKING.stopping_distance(8.0))


def test_margins_of_the_present_and_of_leads():
    leads = (0.0, 0.5)
    free = np.array([[13.0, 13.0], [np.inf, 9.0]])
    table = margins(free, leads, 8.0, BRAKING)
    np.testing.assert_allclose(table, [[0.0, 0.0], [AMPLE, -4.0]])
    # What is there now and gone later may be ignored only where that is asked for.
    leaving = np.array([[5.0, np.inf]])
    assert margins(leaving, leads, 8.0, BRAKING).min() < 0
    assert margins(leaving, leads, 8.0, BRAKING, Trust(release=True)).min() > 0


def test_an_obstacle_that_goes_on_needs_a_way_to_stop_as_well():
    """After the last lead it goes on by 6^2 / (2 * 3) = 6 m; its least speed counts."""
    leads = (0.0, 0.5, 1.0)
    going = np.array([[10.0, 13.0, 17.0], [10.0, 10.0, 17.0], [10.0, np.inf, 17.0]])
    trust = Trust(release=True, lead_deceleration=3.0)
    stopping = BRAKING.stopping_distance(20.0) + 1.0
    last = margins(going, leads, 20.0, BRAKING, trust)[:, -1]
    np.testing.assert_allclose(last, [17 + 6 - stopping, 17 - stopping, 17 - stopping])
    # It is never taken to be faster than the robot.
    slow = margins(going[:1], leads, 3.0, BRAKING, trust)[0, -1]
    assert slow == AMPLE


def test_risk_of_a_pedestrian_who_comes_in_one_future():
    walker = {'width': 0.6, 'height': 1.7, 'label': 8}
    comes = [[Box(12, 2.0, **walker)], [Box(12, 1.4, **walker)], [Box(12, 0.5, **walker)]]
    waits = [[Box(12, 2.5, **walker)]] * 3
    result = forecast([waits, comes], [Box(12, 2.5, **walker)], [0.7, 0.3])
    cameras = lead_cameras(mount_of_text(MOUNT), None, result.leads)
    obstacles = future_obstacles(result, INTRINSICS, cameras, ROLES)
    free = nearest_ahead(obstacles, Corridor(0.0, 0.9, 1.0), result.leads, 2)
    assert np.isinf(free[0]).all() and np.isinf(free[1, :3]).all()
    assert free[1, 3] == pytest.approx(11, abs=0.1)
    risk = assess(free, result.leads, result.weights, 8.0, BRAKING, 0.2)
    np.testing.assert_allclose(risk.probability, [0, 0, 0, 0.3], atol=1e-6)
    assert risk.any_probability == pytest.approx(0.3)
    assert risk.any_cvar == pytest.approx(11 - 12 - 1, abs=0.1)
    assert risk.first_conflict == pytest.approx(0.6)
    calm = assess(free, result.leads, result.weights, 4.0, BRAKING, 0.2)
    assert calm.any_probability == 0 and calm.first_conflict is None
