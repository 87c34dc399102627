# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Points, contacts and obstacles of scenes whose geometry is known."""

from __future__ import annotations

import numpy as np
import pytest
from support.road_scenes import (
    BUILDING,
    INTRINSICS,
    MOUNT,
    PEDESTRIAN,
    ROLES,
    VEHICLE,
    Box,
    draw,
    forecast,
)

from deltaworld_ros.planning.contacts import LIFT, contact_points, find_contacts
from deltaworld_ros.planning.obstacles import EVERY_FUTURE, fused_obstacles, future_obstacles
from deltaworld_ros.planning.points import lead_cameras, map_points
from deltaworld_ros.planning.pose import Twist, mount_of_text

STATIC, DYNAMIC = 0, 1


def test_points_lie_where_the_scene_is():
    _, depth = draw([Box(10.0, -1.0)])
    depth[0, 0] = np.inf
    points = map_points(depth, INTRINSICS)
    assert points.shape == (*depth.shape, 3) and np.isnan(points[0, 0]).all()
    face = np.isclose(points[..., 2], 10.0)
    assert points[..., 0][face].mean() == pytest.approx(1.0, abs=0.05)
    road = (points[..., 1] > 1.49) & (points[..., 2] < 70)
    np.testing.assert_allclose(points[..., 1][road], 1.5, atol=1e-4)


@pytest.mark.parametrize('blur', [0.0, 2.0])
def test_one_distance_a_column_however_blurred_the_depth_is(blur: float):
    """A car's mask spans 30 m when depth is blurred; its contact stays at 10 m."""
    labels, depth = draw([Box(10.0, 0.0)], blur=blur)
    mask = labels == VEHICLE
    assert not blur or np.ptp(depth[mask]) > 10
    contacts = find_contacts(labels, depth, ROLES)
    columns = np.flatnonzero(mask.any(axis=0))
    found = contacts.depth[DYNAMIC]
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(found)), columns)
    np.testing.assert_allclose(found[columns[2:-2]], 10.0, rtol=0.08)
    assert (contacts.label[DYNAMIC, columns] == VEHICLE).all()


def test_points_are_raised_off_the_ground():
    labels, depth = draw([Box(10.0, 0.0), Box(30.0, 8.0, 6.0, 9.0, BUILDING)])
    points = contact_points(find_contacts(labels, depth, ROLES), INTRINSICS)
    robot = mount_of_text(MOUNT).apply(points)
    for role, ahead in ((DYNAMIC, 10), (STATIC, 30)):
        seen = robot[role][np.isfinite(robot[role]).all(axis=-1)]
        assert len(seen)
        np.testing.assert_allclose(seen[:, 0], ahead, rtol=1e-3)
        np.testing.assert_allclose(seen[:, 2], LIFT, atol=0.15)


def test_each_role_has_its_own_nearest():
    labels, depth = draw([
        Box(6.0, 0.0, 0.6, 1.7, PEDESTRIAN), Box(20.0, 0.0, 12.0, 9.0, BUILDING)])
    contacts = find_contacts(labels, depth, ROLES)
    middle = 79
    assert contacts.depth[DYNAMIC, middle] == pytest.approx(6, rel=1e-3)
    assert contacts.depth[STATIC, middle] == pytest.approx(20, rel=1e-3)
    assert np.isnan(contacts.depth[STATIC, 0])


def test_what_a_single_pixel_shows_is_no_obstacle():
    labels, depth = draw([])
    labels[80, 40] = VEHICLE
    assert np.isnan(find_contacts(labels, depth, ROLES).depth).all()
    labels[81, 40], depth[80:82, 40] = VEHICLE, np.nan
    assert np.isnan(find_contacts(labels, depth, ROLES).depth).all()


def test_an_obstacle_that_is_cut_by_the_lower_edge():
    labels, depth = draw([Box(2.0, 0.0, 3.0, 2.0)])
    assert labels[-1, 80] == VEHICLE
    assert find_contacts(labels, depth, ROLES).depth[DYNAMIC, 80] == pytest.approx(2.0)


def test_many_maps_at_once_are_as_one_by_one():
    scenes = [draw([Box(ahead, 0.5)]) for ahead in (5.0, 9.0, 14.0)]
    together = find_contacts(*(np.stack(maps) for maps in zip(*scenes, strict=True)), ROLES)
    for number, scene in enumerate(scenes):
        alone = find_contacts(*scene, ROLES)
        np.testing.assert_array_equal(together.depth[number], alone.depth)
        np.testing.assert_array_equal(together.row[number], alone.row)


def test_a_lead_is_seen_from_the_future_camera():
    """A parked car 20 m ahead is 14 m away from a camera that drives 10 m/s for 0.6 s."""
    result = forecast([[[Box(18, 0)], [Box(16, 0)], [Box(14, 0)]]], [Box(20, 0)])
    mount = mount_of_text(MOUNT)
    moving = lead_cameras(mount, Twist(np.array([10.0, 0, 0]), np.zeros(3)), result.leads)
    points = fused_obstacles(result, INTRINSICS, moving, ROLES)
    np.testing.assert_allclose(points.points[:, 0], 20.0, rtol=0.01)
    still = fused_obstacles(result, INTRINSICS, lead_cameras(mount, None, result.leads), ROLES)
    last = still.where(still.lead == np.float32(0.6))
    np.testing.assert_allclose(last.points[:, 0], 14.0, rtol=0.01)
    assert points.dynamic.all() and (points.future == EVERY_FUTURE).all()
    np.testing.assert_allclose(points.probability, 0.75)


def test_each_number_belongs_to_a_future_and_a_lead():
    stays, comes = [[Box(20, 0)], [Box(20, 0)]], [[Box(15, 0)], [Box(10, 0)]]
    result = forecast([stays, comes], [Box(20, 0)], [0.7, 0.3])
    cameras = lead_cameras(mount_of_text(MOUNT), None, result.leads)
    points = future_obstacles(result, INTRINSICS, cameras, ROLES)
    assert set(points.future.tolist()) == {EVERY_FUTURE, 0, 1}
    second = points.where((points.future == 1) & (points.lead == np.float32(0.4)))
    np.testing.assert_allclose(second.points[:, 0], 10.0, rtol=0.01)
    np.testing.assert_allclose(second.probability, 0.3)
    assert (points.lead[points.future == EVERY_FUTURE] == 0).all()


def test_a_free_road_gives_no_points():
    result = forecast([[[], []]], [])
    cameras = lead_cameras(mount_of_text(MOUNT), None, result.leads)
    assert len(fused_obstacles(result, INTRINSICS, cameras, ROLES)) == 0
    assert len(future_obstacles(result, INTRINSICS, cameras, ROLES)) == 0
