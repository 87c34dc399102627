# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the live node gives planners, and what it says where it cannot, over DDS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')
from nav_msgs.msg import OccupancyGrid, Odometry
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2
from std_msgs.msg import String
from support.ros_session import Client, running

from deltaworld_ros.node.messages import image_message
from deltaworld_ros.node.planner_messages import OBSTACLE_POINT

pytestmark = pytest.mark.live


@pytest.fixture(scope='module')
def node(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    log = tmp_path_factory.mktemp('planner') / 'log'
    with running(log, bundle=tiny_bundle, autostart=True,
                 camera_pose='"1.0 0 1.5 0 0 0"') as client:
        client.connect(lambda: red_image(client))
        client.wait(lambda: client.camera_infos.get_subscription_count() > 0, 'subscription')
        client.camera_infos.publish(CameraInfo(
            header=client.header(), width=160, height=120,
            k=[200., 0., 79.5, 0., 200., 59.5, 0., 0., 1.]))
        yield client


def red_image(client: Client) -> Image:
    """Return a vehicle (red) on a road (grey) under the sky (blue)."""
    pixels = np.full((120, 160, 3), 90, np.uint8)
    pixels[:60] = (60, 80, 160)
    pixels[40:80, 60:120] = (200, 20, 20)
    return image_message(client.header('front'), pixels, 'rgb8')


def feed(client: Client, condition: Any, what: str) -> None:
    for _ in range(60):
        client.stamp += 200_000_000
        client.send(red_image(client))
        if client.spin(condition, 0.1):
            return
    raise AssertionError(f'60 images did not bring: {what}\n{client.process.log}')


def odometry(client: Client, speed: float) -> Odometry:
    message = Odometry(header=client.header('odom'), child_frame_id='base_link')
    message.pose.pose.orientation.w = 1.0
    message.twist.twist.linear.x = speed
    return message


def test_planners_are_served_and_told_what_is_missing(node: Client) -> None:
    clouds = node.subscribe(PointCloud2, 'obstacles', qos_profile_sensor_data)
    feed(node, lambda: clouds, 'obstacles')
    assert clouds[-1].header.frame_id == 'base_link'
    found = np.frombuffer(clouds[-1].data, OBSTACLE_POINT)
    assert len(found) and (found['dynamic'] == 1).any() and np.isfinite(found['x']).all()
    node.fresh_diagnostics()
    assert 'ego motion is not compensated: no odometry has arrived' in node.diagnostics_text

    # Reliable: a cloud of points has 1 MB, of which best effort loses parts on a busy machine.
    others = {name: node.subscribe(kind, name) for name, kind in (
        ('scan', LaserScan), ('occupancy', OccupancyGrid), ('futures/obstacles', PointCloud2),
        ('risk', String), ('lead_600ms/points', PointCloud2))}
    feed(node, lambda: all(others.values()), 'every output for planners')
    assert json.loads(others['risk'][-1].data)['reason'] == 'no odometry has arrived'
    assert others['lead_600ms/points'][-1].header.frame_id == 'front'

    publisher = node.node.create_publisher(Odometry, 'odom', 10)
    node.wait(lambda: publisher.get_subscription_count() > 0, 'subscription to the odometry')
    broken = odometry(node, 5.0)
    broken.pose.pose.orientation.w = 0.0

    def complained() -> bool:
        publisher.publish(broken)   # again and again: the node takes odometry best effort
        return bool(node.process.lines('odometry refused'))

    node.wait(complained, 'the complaint')
    for messages in others.values():
        messages.clear()

    def valid() -> bool:
        risks = [json.loads(message.data) for message in others['risk']]
        return any(risk['valid'] and risk['speed'] == pytest.approx(5.0) for risk in risks)

    for _ in range(60):
        node.stamp += 200_000_000
        publisher.publish(odometry(node, 5.0))
        node.spin(lambda: False, 0.05)
        for messages in others.values():
            messages.clear()
        node.send(red_image(node))
        if node.spin(valid, 0.5):
            break
    assert valid(), node.process.log
    node.wait(lambda: others['futures/obstacles'], 'obstacles of the futures')
    found = np.frombuffer(others['futures/obstacles'][-1].data, OBSTACLE_POINT)
    # The picture stands still while the robot drives on: what it shows drives on as well.
    present = found['x'][found['lead'] == 0].min()
    last = found['x'][found['lead'] == np.float32(0.6)].min()
    assert last - present > 1.5

    # Odometry that ends is not carried on for ever.
    feed(node, lambda: 'older than the image' in node.fresh_diagnostics()['ego_problem'],
         'the complaint about stale odometry')


def test_the_bound_is_learned_while_somebody_listens(node: Client) -> None:
    """It costs nothing before, comes once it has learned, and diagnostics tell how it does."""
    assert not any(key.startswith('bound_') for key in node.fresh_diagnostics())
    scans = node.subscribe(LaserScan, 'lead_200ms/scan_bound', 20)
    feed(node, lambda: len(scans) > 3, 'bounds')
    scan = scans[-1]
    assert scan.header.frame_id == 'base_link'
    seen = np.array(scan.ranges)
    # The vehicle is in the middle, and what is beside it is free farther.
    assert (seen[[0, -1]] > 2 * seen[len(seen) // 2]).all() and (seen > 0).all()
    values = node.fresh_diagnostics()
    assert values['bound_alarm_200ms'] == 'false' and float(values['bound_coverage_200ms']) > 0.9
    assert set(values) >= {f'bound_{name}_{lead}ms' for name in ('alarm', 'coverage')
                           for lead in (200, 400, 600)}


def test_a_camera_pose_that_is_none_ends_in_one_line(tiny_bundle: Path, tmp_path: Path) -> None:
    from support.ros_session import NodeProcess, own_domain
    with own_domain() as domain:
        process = NodeProcess(domain, tmp_path / 'log', bundle=tiny_bundle, camera_pose='"1 2"')
        assert process.process.wait(60) == 1
    assert process.log.count('\n') == 1 and 'must be six numbers' in process.log
