# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the nodes do where packages of Nav2 and tf2 are installed: bond, frames, speed limits."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image
from support.generated_messages import CannotGenerate, generate_messages, missing_packages
from support.once import once
from support.ros_session import ROOT, STRIDE_NS, Client, NodeProcess, own_domain, running

pytestmark = pytest.mark.live
STAND_IN = ROOT / 'test' / 'support' / 'bond_stand_in'


@pytest.fixture(scope='module')
def packages() -> Iterator[dict[str, str]]:
    """Make bond, tf2_msgs and nav2_msgs importable here; return the environment of nodes."""
    paths = []
    if missing_packages():
        try:
            paths.append(str(once('messages', generate_messages) / 'site'))
        except CannotGenerate as reason:
            pytest.skip(f'messages of tf2 and Nav2 are neither installed nor made: {reason}')
    if importlib.util.find_spec('bondpy') is None:
        paths.append(str(STAND_IN))
    sys.path[:0] = paths
    try:
        yield {'PYTHONPATH': os.pathsep.join(
            [str(ROOT), *paths, os.environ.get('PYTHONPATH', '')])}
    finally:
        del sys.path[:len(paths)]


class Manager:
    """One side of a bond, as Nav2's lifecycle manager is."""

    def __init__(self, client: Client) -> None:
        from bond.msg import Status
        self._kind, self._client = Status, client
        self.heard: list[Any] = []
        client.node.create_subscription(Status, '/bond', self._take, 10)
        self._publisher = client.node.create_publisher(Status, '/bond', 1)

    def _take(self, message: Any) -> None:
        if message.instance_id != 'manager':
            self.heard.append(message)

    def beat(self) -> None:
        self._publisher.publish(self._kind(
            id='forecast', instance_id='manager', active=True, heartbeat_timeout=4.0,
            heartbeat_period=0.1))

    def wait_for_beats(self, number: int) -> None:
        """Answer heartbeats until there are so many new ones."""
        self.heard.clear()

        def enough() -> bool:
            self.beat()
            return sum(one.active for one in self.heard) >= number
        self._client.wait(enough, 'heartbeats')


def test_a_lifecycle_manager_gets_its_bond(
        packages: dict[str, str], tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path / 'log', environment=packages, bundle=tiny_bundle) as client:
        manager = Manager(client)
        assert client.change_state('configure') and not manager.heard
        instances = set()
        for _ in range(2):
            assert client.change_state('activate')
            manager.wait_for_beats(5)
            first = manager.heard[0]
            assert (first.id, first.heartbeat_timeout) == ('forecast', 4.0)
            assert first.heartbeat_period == pytest.approx(0.1)
            instances.add(first.instance_id)
            assert client.change_state('deactivate')
            client.wait(lambda: not manager.heard[-1].active, 'the end of the bond')
        assert len(instances) == 2
        # The real bond goes on saying that it is dead until the manager says so too, or 2 s.
        assert client.change_state('activate')
        manager.wait_for_beats(1)
        log = client.process
    assert not log.lines('Traceback') and not log.lines('Exception')


@pytest.mark.skipif(importlib.util.find_spec('bondpy') is None, reason='bondpy is not installed')
def test_a_manager_may_go_silent_again_and_again(
        packages: dict[str, str], tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path / 'log', environment=packages, bundle=tiny_bundle) as client:
        manager = Manager(client)
        assert client.change_state('configure')
        for _ in range(2):
            assert client.change_state('activate')
            manager.wait_for_beats(3)
            client.wait(lambda: client.spin(   # no heartbeat for a second: the bond is broken
                lambda heard=len(manager.heard): len(manager.heard) > heard, 1.0) is False,
                'the end of the heartbeats')
            assert client.change_state('deactivate')
        log = client.process
    assert not log.lines('Traceback') and not log.lines('Exception')


def test_maps_of_a_lead_are_in_a_frame_on_tf(
        packages: dict[str, str], tiny_bundle: Path, tmp_path: Path) -> None:
    """The camera is 1 m ahead of the robot, 1.5 m up, and looks ahead; it drives at 5 m/s."""
    from tf2_msgs.msg import TFMessage
    with running(tmp_path / 'log', environment=packages, bundle=tiny_bundle, autostart=True,
                 camera_pose='"1.0 0 1.5 0 0 0"') as client:
        client.connect()
        transforms: list[Any] = []
        client.node.create_subscription(
            TFMessage, '/tf', lambda message: transforms.extend(message.transforms), 100)
        depths = client.subscribe(Image, 'lead_600ms/depth')
        odometry = client.node.create_publisher(Odometry, 'odom', 50)
        client.wait(odometry.get_subscription_count, 'subscription to the odometry')
        begin = client.stamp

        def drive(moves: bool = True, jump: float = 0.0) -> None:
            """Send odometry of the next image, and it."""
            client.stamp += STRIDE_NS
            if moves:
                message = Odometry(header=client.header('odom'), child_frame_id='base_link')
                message.pose.pose.position.x = 5e-9 * (client.stamp - begin) + jump
                message.pose.pose.orientation.w = 1.0
                message.twist.twist.linear.x = 5.0
                odometry.publish(message)
                client.spin(lambda: False, 0.05)
            client.send(client.image())

        def drive_until(frame: str, **odd: Any) -> None:
            depths.clear()
            for _ in range(60):
                drive(**odd)
                client.spin(lambda: bool(depths), 0.2)
                if depths and depths[-1].header.frame_id == frame:
                    return
            raise AssertionError(client.process.log)

        drive_until('camera_lead_600ms')
        client.wait(lambda: any(one.header.stamp == depths[-1].header.stamp
                                for one in transforms), 'the transform of the map')
        found = next(one for one in transforms if one.header.stamp == depths[-1].header.stamp
                     and one.child_frame_id == 'camera_lead_600ms')
        assert found.header.frame_id == 'odom'
        stamp = found.header.stamp.sec * 10**9 + found.header.stamp.nanosec
        place, turn = found.transform.translation, found.transform.rotation
        # Optical frames look along z and have y down.
        assert (place.x, place.y, place.z) == pytest.approx(
            (5e-9 * (stamp - begin) + 1.0 + 5.0 * 0.6, 0.0, 1.5), abs=1e-3)
        assert np.abs([turn.x, turn.y, turn.z, turn.w]) == pytest.approx([0.5] * 4)

        # Odometry that ends is not carried on: the maps go back to the camera's frame, and no
        # frame is broadcast for them.
        drive_until('camera', moves=False)
        transforms.clear()
        for _ in range(3):
            drive(moves=False)
        assert client.spin(lambda: bool(transforms), 0.5) is False
        assert 'older than the image' in client.fresh_diagnostics()['ego_problem']

        # After the gap it begins anew; so it does where the pose is set anew, and says so.
        drive_until('camera_lead_600ms')
        transforms.clear()
        drive_until('camera_lead_600ms', jump=100.0)
        client.wait(lambda: client.process.lines('odometry jumped'), 'the jump')
        client.wait(lambda: any(one.child_frame_id == 'camera_lead_600ms' and
                                one.header.stamp == depths[-1].header.stamp
                                for one in transforms), 'frames after the jump')
        last = [one for one in transforms if one.child_frame_id == 'camera_lead_600ms'][-1]
        assert last.transform.translation.x > 100.0


def test_nav2_is_told_the_speed_limit(packages: dict[str, str], tmp_path: Path) -> None:
    from nav2_msgs.msg import SpeedLimit
    from test_speed_governor import Robot
    with own_domain() as domain:
        process = NodeProcess(
            domain, tmp_path / 'log', script='deltaworld_ros/node/speed_governor.py',
            environment=packages, reaction_time=0.5, deceleration=4.0, standstill_distance=1.0,
            robot_front=1.0, safe_speed=0.0, max_speed=10.0)
        robot = Robot(domain, process)
        try:
            limits: list[Any] = []
            robot.node.create_subscription(SpeedLimit, 'speed_limit', limits.append, 10)

            def told(low: float, high: float, **scene: Any) -> bool:
                def heard() -> bool:
                    if scene:
                        robot.see(**scene)
                    return bool(limits) and low <= limits[-1].speed_limit <= high
                limits.clear()
                return robot.spin(heard, 30.0)

            # Nothing is known: a stop, which is not 0, for that means no limit.
            assert told(0.001, 0.001), process.log
            # 13 m are free of which 1 m is kept: the robot stops from 8 m/s in 12 m.
            assert told(6.5, 8.2, ahead=14.0), process.log
            assert told(10.0, 10.0, ahead=None), process.log
            assert told(0.001, 0.001), process.log   # silence
            limit = limits[-1]
            assert not limit.percentage
            assert abs(limit.header.stamp.sec - time.time()) < 60
        finally:
            robot.close()
            assert process.stop() == 0, process.log
