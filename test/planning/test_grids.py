# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Occupancy and scan of scenes whose geometry is known."""

from __future__ import annotations

import numpy as np
import pytest
from support.road_scenes import COLUMNS, INTRINSICS, MOUNT, ROLES, Box, forecast

from deltaworld_ros.planning.obstacles import fused_obstacles, future_obstacles
from deltaworld_ros.planning.occupancy import UNKNOWN, Grid, hide_unseen, occupancy
from deltaworld_ros.planning.points import lead_cameras
from deltaworld_ros.planning.pose import mount_of_text
from deltaworld_ros.planning.scan import over_columns, scan_points

GRID = Grid(size=30.0, resolution=0.5)
CAMERA = mount_of_text(MOUNT)


def cell(ahead: float, left: float) -> tuple[int, int]:
    return round((left + 15.0) / 0.5 - 0.5), int(ahead / 0.5)


def test_the_weight_of_the_futures_that_come_there():
    goes, stays = [[Box(12.2, 0.2)], [Box(9.2, 0.2)]], [[Box(15.2, 0.2)]] * 2
    result = forecast([stays, goes], [Box(15.2, 0.2)], [0.75, 0.25])
    cameras = lead_cameras(CAMERA, None, result.leads)
    obstacles = future_obstacles(result, INTRINSICS, cameras, ROLES)
    grid = occupancy(obstacles, result.weights, GRID)
    assert grid.shape == (60, 60)
    assert grid[cell(15.2, 0.2)] == 1.0
    assert grid[cell(9.2, 0.2)] == grid[cell(12.2, 0.2)] == pytest.approx(0.25)
    assert grid[cell(20.2, 0.2)] == 0
    present = obstacles.points[obstacles.lead == 0]
    seen = hide_unseen(grid, GRID, present, CAMERA, INTRINSICS, COLUMNS)
    # Free before the car, unknown behind it and outside the view, known where one may come.
    assert seen[cell(5.2, 0.2)] == 0 and seen[cell(20.2, 0.2)] == UNKNOWN
    assert seen[cell(1.2, 10.2)] == UNKNOWN and seen[cell(20.2, 8.2)] == 0
    assert seen[cell(9.2, 0.2)] == pytest.approx(0.25)


def test_what_lies_outside_the_grid_is_left_out():
    result = forecast([[[Box(60, 0, 9.0)]]], [Box(60, 0, 9.0)])
    cameras = lead_cameras(CAMERA, None, result.leads)
    obstacles = future_obstacles(result, INTRINSICS, cameras, ROLES)
    assert len(obstacles) and not occupancy(obstacles, result.weights, GRID).any()


def test_a_scan_has_the_nearest_of_all_leads():
    result = forecast([[[Box(12, 0)]]], [Box(15, 0)])
    cameras = lead_cameras(CAMERA, None, result.leads)
    obstacles = fused_obstacles(result, INTRINSICS, cameras, ROLES)
    points = over_columns(obstacles.points, INTRINSICS, CAMERA)
    scan = scan_points(points, CAMERA, INTRINSICS, COLUMNS)
    angles = scan.first_angle + scan.step * np.arange(COLUMNS)
    half = np.arctan(80 / 120)
    assert angles[0] == pytest.approx(-half, abs=0.01)
    assert angles[-1] == pytest.approx(half, abs=0.01)
    ahead = np.abs(angles) < 0.05
    # None is left out: Nav2's costmap clears along a ray without obstacles.
    np.testing.assert_allclose(scan.ranges[ahead], 12, rtol=0.01)
    assert np.isinf(scan.ranges[np.abs(angles) > 0.2]).all()
    empty = scan_points(np.zeros((0, 3)), CAMERA, INTRINSICS, COLUMNS)
    assert np.isinf(empty.ranges).all()
