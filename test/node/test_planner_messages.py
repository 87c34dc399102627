# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The messages for planners of hand-made scenes, without DDS."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy')
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, PointCloud2
from std_msgs.msg import Header
from support.road_scenes import COLUMNS, INTRINSICS, MOUNT, ROWS, SKY, VEHICLE, Box, forecast

from deltaworld_ros.bundle import Manifest, load_bundle
from deltaworld_ros.bundle.class_lists import STREET
from deltaworld_ros.camera.intrinsics import read_camera, resize_matrix
from deltaworld_ros.forecast.live_bound import LeadBound
from deltaworld_ros.node import planner_messages
from deltaworld_ros.node.clouds import cloud_message
from deltaworld_ros.node.frame_result import FrameResult
from deltaworld_ros.node.lead_frames import lead_transforms
from deltaworld_ros.node.messages import forecast_info_message
from deltaworld_ros.node.planner_messages import LEAD_POINT, OBSTACLE_POINT
from deltaworld_ros.node.planner_scene import PlannerSettings, RobotState
from deltaworld_ros.planning.occupancy import Grid
from deltaworld_ros.planning.odometry import Ego
from deltaworld_ros.planning.pose import (
    IDENTITY,
    Pose,
    Twist,
    mount_of_text,
    rotation_of_angles,
    rotation_of_quaternion,
)

NOW = 12_000_000_000
DRIVING = Ego(0, 'odom', IDENTITY, Twist(np.array([10.0, 0, 0]), np.zeros(3)))
ROBOT = RobotState('base_link', mount_of_text(MOUNT), DRIVING,
                   settings=PlannerSettings(grid=Grid(30.0, 0.5), half_width=1.0, front=1.0))
# A parked car as a camera sees it that drives 10 m/s.
PARKED = forecast([[[Box(18, 0)], [Box(16, 0)], [Box(14, 0)]]] * 2, [Box(20, 0)], [0.75, 0.25])


@pytest.fixture
def result(tiny_bundle: Path) -> FrameResult:
    """Return the result of a camera whose maps are those of the scenes."""
    manifest = Manifest(**{
        **load_bundle(tiny_bundle).manifest.__dict__, 'classes': STREET, 'map_width': COLUMNS,
        'map_height': ROWS, 'image_width': 2 * COLUMNS, 'image_height': 2 * ROWS,
        'depth_minimum': 0.1, 'depth_maximum': 250.0})
    camera = read_camera(CameraInfo(
        width=2 * COLUMNS, height=2 * ROWS,
        k=(resize_matrix(2, 2) @ INTRINSICS).ravel().tolist()))
    header = Header(frame_id='front')
    header.stamp.sec = 10
    return FrameResult(
        header, np.zeros((2 * ROWS, 2 * COLUMNS, 3), np.uint8), manifest, 'none', camera,
        np.eye(3), 1.0, 320, PARKED, robot=ROBOT, now_ns=NOW)


def records(message: PointCloud2, kind: np.dtype) -> np.ndarray:
    assert [field.name for field in message.fields] == list(kind.names or ())
    found = np.frombuffer(message.data, kind)
    return found.reshape(message.height, message.width) if message.height > 1 else found


def test_points_are_organised_as_the_masks(result: FrameResult) -> None:
    message = planner_messages.points(result, 3)
    assert message is not None
    message = deserialize_message(serialize_message(message), PointCloud2)
    assert (message.width, message.height, message.point_step) == (320, 192, 16)
    assert message.header.frame_id == 'front' and not message.is_dense
    found = records(message, LEAD_POINT)
    car = found['label'] == VEHICLE
    np.testing.assert_allclose(found['z'][car], 14.0, rtol=0.06)
    assert abs(float(found['x'][car].mean())) < 0.06
    assert np.isnan(found['z'][found['label'] == SKY]).all()
    assert (found['confidence'] == 191).all()


def test_a_lead_has_the_frame_that_is_broadcast(result: FrameResult) -> None:
    result.robot = replace(ROBOT, lead_frames=True)
    assert [result.header_of(lead).frame_id for lead in range(4)] == [
        'front', 'front_lead_200ms', 'front_lead_400ms', 'front_lead_600ms']


def test_frames_of_leads_are_where_the_camera_will_be(result: FrameResult) -> None:
    """The robot is at (5, 2), turned left by 90 degrees, and drives 10 m/s."""
    ego = Ego(0, 'odom', Pose(rotation_of_angles(0, 0, np.pi / 2), np.array([5.0, 2.0, 0])),
              DRIVING.twist)
    found = lead_transforms(result.header, ego, mount_of_text('1 0 1.5 0 0 0'), (0.2, 0.6))
    assert [one.child_frame_id for one in found] == ['front_lead_200ms', 'front_lead_600ms']
    assert found[1].header.frame_id == 'odom' and found[1].header.stamp.sec == 10
    place, turn = found[1].transform.translation, found[1].transform.rotation
    assert (place.x, place.y, place.z) == pytest.approx((5.0, 2.0 + 1.0 + 6.0, 1.5))
    ahead = rotation_of_quaternion(turn.x, turn.y, turn.z, turn.w) @ [0, 0, 1]
    np.testing.assert_allclose(ahead, [0, 1, 0], atol=1e-9)


def test_obstacles_of_all_leads_in_the_frame_of_the_robot(result: FrameResult) -> None:
    message = planner_messages.obstacles(result, 0)
    assert message is not None and message.header.frame_id == 'base_link'
    assert message.header.stamp.sec == 10 and message.is_dense
    found = records(message, OBSTACLE_POINT)
    np.testing.assert_allclose(found['x'], 20.0, rtol=0.01)
    assert sorted(set(found['lead'].tolist())) == pytest.approx([0, 0.2, 0.4, 0.6])
    assert (found['future'] == -1).all() and (found['dynamic'] == 1).all()
    np.testing.assert_allclose(found['probability'], 0.75)
    assert (found['z'] > 0.2).all()


def test_futures_are_told_apart(result: FrameResult) -> None:
    message = planner_messages.future_obstacles(result, 0)
    assert message is not None
    found = records(message, OBSTACLE_POINT)
    assert set(found['future'].tolist()) == {-1, 0, 1}
    np.testing.assert_allclose(found['probability'][found['future'] == 1], 0.25)
    np.testing.assert_allclose(found['probability'][found['future'] == -1], 1.0)


def test_without_the_camera_s_place_they_are_in_its_frame(result: FrameResult) -> None:
    result.robot = replace(ROBOT, mount=None)
    message = planner_messages.obstacles(result, 0)
    assert message is not None and message.header.frame_id == 'front'
    np.testing.assert_allclose(records(message, OBSTACLE_POINT)['z'], 20.0, rtol=0.01)
    assert planner_messages.scan(result, 0) is None
    assert planner_messages.occupancy_grid(result, 0) is None
    assert json.loads(planner_messages.risk(result, 0).data)['reason'] == 'camera_pose is unknown'


def test_nothing_ahead_is_an_empty_cloud(result: FrameResult) -> None:
    result.forecast = forecast([[[]] * 3], [])
    message = planner_messages.obstacles(result, 0)
    assert message is not None and message.width == 0 and len(message.data) == 0
    assert len(message.fields) == len(OBSTACLE_POINT.names or ())


def test_obstacles_are_above_the_ground_however_the_camera_is_tilted(
        result: FrameResult) -> None:
    result.robot = replace(ROBOT, mount=mount_of_text('0 0 1.5 0 0.1 0'))
    message = planner_messages.obstacles(result, 0)
    assert message is not None
    np.testing.assert_allclose(records(message, OBSTACLE_POINT)['z'].min(), 0.1, rtol=1e-6)


def test_static_classes_can_be_left_out(result: FrameResult) -> None:
    result.forecast = forecast([[[]]], [Box(9, 0, 4, 4, 5)])
    assert result.scene is not None and len(result.scene.fused)
    del result.__dict__['scene']
    result.robot = replace(ROBOT, settings=PlannerSettings(dynamic_only=True))
    assert result.scene is not None and not len(result.scene.fused)


def test_no_stamp_is_in_the_future(result: FrameResult) -> None:
    result.header.stamp.sec = 100
    for make in (planner_messages.obstacles, planner_messages.scan,
                 planner_messages.occupancy_grid):
        message = make(result, 0)
        assert message is not None and message.header.stamp.sec == 12
    facts = json.loads(forecast_info_message(result).data)
    assert (facts['stamp']['sec'], facts['planner_stamp']['sec']) == (100, 12)


def test_a_scan_of_all_leads(result: FrameResult) -> None:
    message = planner_messages.scan(result, 0)
    assert message is not None and message.header.frame_id == 'base_link'
    assert len(message.ranges) == COLUMNS and message.range_max == 250.0
    ranges = np.array(message.ranges)
    assert np.isfinite(ranges[COLUMNS // 2]) and np.isinf(ranges[0])
    assert ranges.min() == pytest.approx(20, rel=0.01)


def test_a_scan_of_the_bound_at_a_lead(result: FrameResult) -> None:
    """Where the camera will be, in every direction between the bounded columns; inf elsewhere."""
    lower = np.full(COLUMNS, 250.0)
    lower[40:121] = 8.0
    assert planner_messages.scan_bound(result, 3) is None
    result.bounds = {0.6: LeadBound(lower, None, False), 0.4: LeadBound(None, None, False)}
    assert planner_messages.scan_bound(result, 2) is None
    message = planner_messages.scan_bound(result, 3)
    assert message is not None and message.header.frame_id == 'base_link'
    ranges, plain = np.array(message.ranges), planner_messages.scan(result, 0)
    assert plain is not None and len(ranges) == len(plain.ranges) == COLUMNS
    assert (message.angle_min, message.angle_increment) == (
        plain.angle_min, plain.angle_increment)
    near = np.nonzero(np.isfinite(ranges))[0]
    assert (np.diff(near) == 1).all() and 1 < len(near) < COLUMNS - 1
    scene = result.scene
    assert scene is not None
    ahead = scene.cameras[3].apply([0, 0, 8.0])
    assert ranges[near].min() == pytest.approx(np.hypot(*ahead[:2]), rel=0.01)
    # 6 m are driven until then.
    assert ahead[0] - scene.cameras[0].apply([0, 0, 8.0])[0] == pytest.approx(6.0)


def test_occupancy_in_percent(result: FrameResult) -> None:
    message = planner_messages.occupancy_grid(result, 0)
    assert message is not None and message.header.frame_id == 'base_link'
    assert (message.info.width, message.info.height) == (60, 60)
    assert message.info.origin.position.y == -15.0
    cells = np.array(message.data).reshape(60, 60)
    assert cells[30, 40] == 100 and cells[30, 10] == 0 and cells[30, 50] == -1


def test_risk_of_the_present_motion(result: FrameResult) -> None:
    """19 m are free; from 10 m/s the robot stops after 3 + 16.7 m, and 1 m is kept."""
    found = json.loads(planner_messages.risk(result, 0).data)
    assert found['valid'] and found['speed'] == 10.0 and found['age'] == 2.0
    assert found['leads'] == [0.0, 0.2, 0.4, 0.6]
    assert found['any_probability'] == 1.0
    assert found['any_cvar'] == pytest.approx(19 - 3 - 100 / 6 - 1, abs=0.1)
    assert found['first_conflict'] == 0.0
    result.robot = replace(ROBOT, ego=None, problem='odometry is old')
    found = json.loads(planner_messages.risk(result, 0).data)
    assert (found['valid'], found['reason']) == (False, 'odometry is old')


def test_records_survive_the_wire() -> None:
    kind = OBSTACLE_POINT
    sent = np.zeros(3, kind)
    sent['future'], sent['probability'], sent['label'] = [-1, 0, 300], [1, 0.5, 0.25], [1, 2, 3]
    message = deserialize_message(
        serialize_message(cloud_message(Header(frame_id='a'), sent)), PointCloud2)
    np.testing.assert_array_equal(records(message, kind), sent)
    assert kind.itemsize == 24 and message.row_step == 72
