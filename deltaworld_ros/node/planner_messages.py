# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Make the messages for planners: clouds, scan, occupancy and risk (see docs/planning.md)."""

from __future__ import annotations

import array
import json
import math

import numpy as np
from nav_msgs.msg import OccupancyGrid
from sensor_msgs.msg import LaserScan, PointCloud2
from std_msgs.msg import Header, String

from deltaworld_ros.camera.map_resize import enlarge_map
from deltaworld_ros.node.clouds import cloud_message, record_type
from deltaworld_ros.node.frame_result import FrameResult
from deltaworld_ros.planning.corridor import Corridor, nearest_ahead
from deltaworld_ros.planning.obstacles import Obstacles
from deltaworld_ros.planning.occupancy import UNKNOWN, hide_unseen, occupancy
from deltaworld_ros.planning.points import map_points
from deltaworld_ros.planning.risk import assess
from deltaworld_ros.planning.scan import Scan, column_points, over_columns, scan_points

LEAD_POINT = record_type(label=np.uint8, confidence=np.uint8)
OBSTACLE_POINT = record_type(
    label=np.uint8, dynamic=np.uint8, future=np.int16, probability=np.float32, lead=np.float32)
_MIN_SPEED = 0.05   # m/s; slower than this a twist has no curvature
_MIN_RANGE = 0.05   # m


def points(result: FrameResult, lead: int) -> PointCloud2 | None:
    """Return the points of a lead's fused maps, pixel for pixel; NaN where depth is unknown."""
    if result.camera is None:
        return None
    forecast, (width, height) = result.metres, result.size
    records = np.zeros((height, width), LEAD_POINT)
    found = map_points(
        enlarge_map(forecast.fused_depth[lead], result.size), result.intrinsics(result.size))
    for axis, name in enumerate('xyz'):
        records[name] = found[..., axis]
    records['label'] = enlarge_map(forecast.fused_labels[lead], result.size)
    records['confidence'] = np.rint(
        255 * enlarge_map(forecast.confidence[lead], result.size))
    return cloud_message(result.header_of(lead), records)


def obstacles(result: FrameResult, lead: int) -> PointCloud2 | None:
    """Return the obstacles of the fused maps of all leads; empty where nothing is ahead."""
    return None if result.scene is None else _cloud(result, result.scene.fused)


def future_obstacles(result: FrameResult, lead: int) -> PointCloud2 | None:
    """Return the obstacles of the present and of each future at each lead."""
    return None if result.scene is None else _cloud(result, result.scene.futures)


def scan(result: FrameResult, lead: int) -> LaserScan | None:
    """Return the nearest obstacle of all leads in each direction, inf where there is none."""
    scene, robot = result.scene, result.robot
    if scene is None or robot.mount is None:
        return None
    found, leads = scene.fused, np.asarray(scene.forecast.leads, np.float32)
    points = np.concatenate([
        over_columns(found.points[found.lead == lead], scene.intrinsics, camera)
        for lead, camera in zip(leads, scene.cameras, strict=True)])
    return _scan_message(
        result, scan_points(points, robot.mount, scene.intrinsics, result.manifest.map_width))


def scan_bound(result: FrameResult, lead: int) -> LaserScan | None:
    """Return the least distances that obstacles have at a lead, inf where it is free so far."""
    scene, robot = result.scene, result.robot
    if scene is None or robot.mount is None or not result.bounds:
        return None
    lower = result.bounds[result.metres.leads[lead]].distances
    if lower is None:
        return None
    free = lower >= result.manifest.depth_maximum
    points = column_points(
        np.where(free, np.nan, lower), scene.intrinsics, scene.cameras[lead])
    return _scan_message(
        result, scan_points(points, robot.mount, scene.intrinsics, result.manifest.map_width))


def _scan_message(result: FrameResult, found: Scan) -> LaserScan:
    last = found.first_angle + found.step * (len(found.ranges) - 1)
    return LaserScan(
        header=_header(result), angle_min=found.first_angle, angle_max=last,
        angle_increment=found.step, range_min=_MIN_RANGE,
        range_max=float(result.manifest.depth_maximum * (result.depth_scale or 1.0)),
        ranges=array.array('f', found.ranges.tobytes()))


def occupancy_grid(result: FrameResult, lead: int) -> OccupancyGrid | None:
    """Return the probability (0 to 100) that cells are occupied within the horizon, -1 unseen."""
    scene, robot = result.scene, result.robot
    if scene is None or robot.mount is None:
        return None
    grid = robot.settings.grid
    found, weights = scene.futures, scene.forecast.weights
    probability = hide_unseen(
        occupancy(found, weights, grid), grid, found.points[found.lead == 0], robot.mount,
        scene.intrinsics, result.manifest.map_width)
    percent = np.where(probability == UNKNOWN, -1, np.rint(100 * probability)).astype(np.int8)
    message = OccupancyGrid(header=_header(result), data=array.array('b', percent.tobytes()))
    message.info.map_load_time = message.header.stamp
    message.info.resolution = grid.resolution
    message.info.width = message.info.height = grid.cells
    message.info.origin.position.x, message.info.origin.position.y = grid.origin
    message.info.origin.orientation.w = 1.0
    return message


def risk(result: FrameResult, lead: int) -> String:
    """Return the risk of keeping the present twist, as JSON; never silent about why not."""
    scene, robot = result.scene, result.robot
    header = _header(result)
    facts: dict[str, object] = {
        'stamp': {'sec': header.stamp.sec, 'nanosec': header.stamp.nanosec},
        'frame_id': header.frame_id, 'age': round(result.age_now, 6),
        'forecast': result.num_leads > 1, 'valid': False}
    problem = ('there is no camera_info' if scene is None else
               'camera_pose is unknown' if robot.mount is None else
               '' if robot.ego is not None else robot.problem or 'there is no odometry')
    if scene is None or robot.mount is None or robot.ego is None:
        return String(data=json.dumps({**facts, 'reason': problem}))
    settings, twist = robot.settings, robot.ego.twist
    speed = max(0.0, twist.speed)
    curvature = twist.yaw_rate / speed if speed > _MIN_SPEED else 0.0
    forecast = scene.forecast
    found = assess(
        nearest_ahead(scene.futures, Corridor(curvature, settings.half_width, settings.front),
                      forecast.leads, len(forecast.weights)),
        forecast.leads, forecast.weights, speed, settings.braking, settings.risk_level)
    return String(data=json.dumps({
        **facts, 'valid': True, 'reason': '', 'speed': round(speed, 4),
        'yaw_rate': round(twist.yaw_rate, 5), 'leads': list(found.leads),
        'probability': _rounded(found.probability), 'cvar': _rounded(found.cvar),
        'any_probability': round(found.any_probability, 4),
        'any_cvar': round(found.any_cvar, 4), 'level': settings.risk_level,
        'first_conflict': found.first_conflict}))


def _cloud(result: FrameResult, found: Obstacles) -> PointCloud2:
    records = np.zeros(len(found), OBSTACLE_POINT)
    for axis, name in enumerate('xyz'):
        records[name] = found.points[:, axis]
    for name in ('label', 'dynamic', 'future', 'probability', 'lead'):
        records[name] = getattr(found, name)
    return cloud_message(_header(result), records)


def _header(result: FrameResult) -> Header:
    """Return the image's stamp, but none in the future, and the frame of the obstacles."""
    robot = result.robot
    return result.past_header(
        result.header.frame_id if robot.mount is None else robot.base_frame)


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values if math.isfinite(value)]
