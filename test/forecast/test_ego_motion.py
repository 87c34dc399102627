# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The ego-motion forecast in scenes whose geometry is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deltaworld_ros.forecast.ego_motion import EgoMotion, Motion, warp_features

SHAPE = (60, 100)
INTRINSICS = np.array([[80.0, 0, 49.5], [0, 80.0, 29.5], [0, 0, 1]])
NOWHERE = np.zeros(SHAPE, bool)


def wall(distance: float, half_width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and depth of a wall ahead with a square in its middle (metres)."""
    v, u = np.mgrid[:SHAPE[0], :SHAPE[1]]
    x, y = (u - 49.5) / 80 * distance, (v - 29.5) / 80 * distance
    inside = (np.abs(x) < half_width) & (np.abs(y) < half_width)
    return inside.astype(np.uint8), np.full(SHAPE, distance, np.float32)


def test_a_wall_comes_nearer():
    labels, depth = wall(20.0, 1.5)
    motion = EgoMotion(depth, NOWHERE, INTRINSICS, Motion(speed=10.0, yaw_rate=0.0))
    seen, metres, _ = motion.warp(labels, 0.6)
    expected, _ = wall(14.0, 1.5)
    np.testing.assert_allclose(metres, 14.0, rtol=1e-5)
    assert np.mean(seen == expected) > 0.985


def test_a_turn_to_the_left_moves_the_picture_right():
    labels, depth = wall(1e4, 1000.0)
    turn = 0.1
    seen, _, _ = EgoMotion(depth, NOWHERE, INTRINSICS, Motion(0.0, turn)).warp(labels, 1.0)
    before, after = (np.flatnonzero(one[30]).mean() for one in (labels, seen))
    assert after - before == pytest.approx(80 * math.tan(turn), abs=0.6)


def test_an_arc_ends_where_the_circle_does():
    right, forward, turn = Motion(speed=2.0, yaw_rate=math.pi / 2).displacement(1.0)
    radius = 2.0 / (math.pi / 2)
    assert (right, forward, turn) == pytest.approx((-radius, radius, math.pi / 2))
    assert Motion(3.0, 0.0).displacement(0.5) == pytest.approx((0.0, 1.5, 0.0))


def test_the_sky_does_not_come_nearer():
    labels, depth = wall(5.0, 0.5)
    far = np.ones(SHAPE, bool)
    seen, metres, _ = EgoMotion(depth, far, INTRINSICS, Motion(20.0, 0.0)).warp(labels, 0.6)
    np.testing.assert_array_equal(seen, labels)
    np.testing.assert_array_equal(metres, depth)


def test_features_move_with_the_maps():
    grid = np.arange(5 * 10, dtype=np.float32).reshape(50, 1)
    moved = warp_features(grid, 5, np.full((50, 100, 2), (10.0, 0.0), np.float32))
    np.testing.assert_allclose(moved.reshape(5, 10)[:, 1:], grid.reshape(5, 10)[:, :-1])
