# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The speed governor as a process: commands limited by what a forecast node publishes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header, String
from support.ros_session import ROOT, NodeProcess, own_domain

from deltaworld_ros.errors import UserError
from deltaworld_ros.node.clouds import cloud_message
from deltaworld_ros.node.governor_node import limit_message
from deltaworld_ros.node.governor_parameters import GOVERNOR_PARAMETERS
from deltaworld_ros.node.obstacle_cloud import read_obstacles
from deltaworld_ros.node.parameter_table import render_markdown
from deltaworld_ros.node.planner_messages import OBSTACLE_POINT

pytestmark = pytest.mark.live
LEADS = (0.0, 0.2, 0.4, 0.6)


class Robot:
    """Plays the forecast node and the planner, and listens to the governor."""

    def __init__(self, domain: int, process: NodeProcess) -> None:
        self.process = process
        self.clock_ns: Callable[[], int] = time.time_ns
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = Node('robot', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._clouds = self.node.create_publisher(PointCloud2, 'obstacles', 5)
        self._infos = self.node.create_publisher(String, 'forecast_info', 5)
        self._commands = self.node.create_publisher(Twist, 'cmd_vel', 5)
        self.speeds: list[Twist] = []
        self.node.create_subscription(Twist, 'cmd_vel_limited', self.speeds.append, 5)
        self.texts: list[str] = []
        self.node.create_subscription(DiagnosticArray, '/diagnostics', lambda message: (
            self.texts.extend(status.message for status in message.status)), 5)

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def spin(self, condition: Callable[[], Any], seconds: float = 30.0) -> bool:
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.02)
        return bool(condition())

    def see(self, ahead: float | None, *, leads: tuple[float, ...] = LEADS, age: float = 0.0,
            frame: str = 'base_link', weights: tuple[float, ...] = (1.0,),
            camera_ahead: int = 0) -> None:
        """
        Publish obstacles: one straight ahead that stays, or none.

        The camera's clock is `camera_ahead` seconds ahead of the robot's.
        """
        seconds, nanoseconds = divmod(self.clock_ns() - round(age * 1e9), 10**9)
        header = Header(frame_id=frame)
        header.stamp.sec, header.stamp.nanosec = seconds, nanoseconds
        records = np.zeros(0 if ahead is None else len(leads), OBSTACLE_POINT)
        if ahead is not None:
            records['x'], records['lead'], records['probability'] = ahead, leads, 1.0
            records['future'] = [-1, *[0] * (len(leads) - 1)]
        self._clouds.publish(cloud_message(header, records))
        self._infos.publish(String(data=json.dumps({
            'stamp': {'sec': seconds + camera_ahead, 'nanosec': nanoseconds},
            'planner_stamp': {'sec': seconds, 'nanosec': nanoseconds}, 'leads': leads,
            'weights': weights})))

    def drive(self, speed: float, yaw_rate: float = 0.0) -> Twist:
        """Command a speed and return what is let through."""
        command = Twist()
        command.linear.x, command.angular.z = speed, yaw_rate
        self.speeds.clear()
        self._commands.publish(command)
        assert self.spin(lambda: self.speeds), self.process.log
        return self.speeds[-1]

    def settle(self, speed: float, **scene: Any) -> float:
        """Command a speed for a while in an unchanging scene, and return what is let through."""
        for _ in range(25):
            self.see(**scene)
            self.spin(lambda: False, 0.02)
            found = self.drive(speed)
        return float(found.linear.x)

    def says(self, text: str, **scene: Any) -> bool:
        """Tell whether diagnostics say so soon, while a scene (see `see`) goes on."""
        self.texts.clear()

        def heard() -> bool:
            if scene:   # else it grows stale before the next diagnostics
                self.see(**scene)
            return any(text in one for one in self.texts)
        return self.spin(heard, 5.0)


@pytest.fixture(scope='module')
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    with own_domain() as domain:
        process = NodeProcess(
            domain, tmp_path_factory.mktemp('governor') / 'log',
            script='deltaworld_ros/node/speed_governor.py', hold=0.0, acceleration=20.0,
            reaction_time=0.5, deceleration=4.0, standstill_distance=1.0, robot_front=1.0,
            safe_speed=0.5, max_speed=10.0)
        robot = Robot(domain, process)
        try:
            assert robot.spin(lambda: robot._commands.get_subscription_count()
                              and robot._clouds.get_subscription_count()
                              and robot._infos.get_subscription_count(), 60), process.log
            yield robot
        finally:
            robot.close()
            assert process.stop() == 0, process.log


def test_nothing_known_is_the_safe_speed(robot: Robot) -> None:
    assert robot.spin(lambda: robot.drive(5.0).linear.x == 0.5, 5.0)   # it rises slowly
    assert robot.says('safe speed: no obstacles have arrived (nobody publishes obstacles)')
    assert robot.drive(0.0, 0.7).angular.z == 0.7


def test_a_forecast_limits_the_speed_and_keeps_the_curvature(robot: Robot) -> None:
    """13 m are free of which 1 m is kept: 12 m are the way to stop from 8 m/s."""
    assert robot.settle(10.0, ahead=14.0) == pytest.approx(7.5, abs=0.7)
    assert robot.says('chosen by the forecast', ahead=14.0)
    assert robot.settle(3.0, ahead=14.0) == 3.0
    robot.see(14.0)
    robot.spin(lambda: False, 0.05)
    found = robot.drive(10.0, 0.1)
    assert found.angular.z / found.linear.x == pytest.approx(0.01)
    assert robot.settle(10.0, ahead=None) == 10.0


@pytest.mark.parametrize(('scene', 'text'), [
    ({'leads': (0.0,)}, 'present maps: there is no forecast yet'),
    ({'age': 0.55}, 'present maps: the forecast is'),
    ({'weights': (0.5, 0.2)}, 'present maps: the weights of the forecast')],
    ids=['context', 'stale', 'weights'])
def test_without_a_sound_forecast_the_present_maps_count(
        robot: Robot, scene: dict[str, Any], text: str) -> None:
    assert robot.settle(10.0, ahead=14.0, **scene) == pytest.approx(6.8, abs=1.4)
    robot.see(14.0, **scene)
    robot.texts.clear()
    assert robot.spin(lambda: (robot.see(14.0, **scene), any(
        text in one for one in robot.texts))[1], 5.0), robot.texts


def test_a_camera_whose_clock_is_ahead_is_understood(robot: Robot) -> None:
    assert robot.settle(10.0, ahead=14.0, camera_ahead=3) == pytest.approx(7.5, abs=0.7)
    assert robot.says('chosen by the forecast', ahead=14.0, camera_ahead=3)


def test_one_misdated_scene_does_not_keep_out_those_that_follow(robot: Robot) -> None:
    assert robot.says('obstacles are -36', ahead=14.0, age=-3650.0)
    assert robot.settle(10.0, ahead=14.0) == pytest.approx(7.5, abs=0.7)


def test_silence_is_the_safe_speed(robot: Robot) -> None:
    robot.settle(10.0, ahead=None)
    assert robot.spin(lambda: robot.drive(10.0).linear.x == 0.5, 5.0)
    assert robot.says('safe speed: obstacles are')


def test_another_frame_and_broken_messages_are_named(robot: Robot) -> None:
    robot.see(14.0, frame='camera')
    assert robot.spin(lambda: robot.process.lines('are in the frame'), 10.0)
    huge = f'{{"stamp": {{"sec": 0, "nanosec": 0}}, "leads": [{10**400}], "weights": []}}'
    endless = '{"stamp": {"sec": Infinity, "nanosec": 0}}'
    for text in ('{"stamp": 3}', '[]', '3', 'null', huge, endless):
        robot._infos.publish(String(data=text))
        robot.spin(lambda: False, 0.05)
    assert robot.drive(10.0).linear.x == 0.5
    assert robot.drive(float('nan')).linear.x == 0.0
    assert robot.process.process.poll() is None


def test_a_clock_that_jumps_back_forgets_what_was_seen(tmp_path: Path) -> None:
    with own_domain() as domain:
        process = NodeProcess(
            domain, tmp_path / 'log', script='deltaworld_ros/node/speed_governor.py', hold=0.0,
            acceleration=20.0, safe_speed=0.5, max_speed=10.0, use_sim_time=True)
        robot = Robot(domain, process)
        try:
            clock = robot.node.create_publisher(Clock, '/clock', 10)
            assert robot.spin(lambda: clock.get_subscription_count()
                              and robot._commands.get_subscription_count(), 60), process.log
            now = 10**11

            def tick(**scene: Any) -> float:
                """Let 0.05 s pass, see a scene if there is one, and command 8 m/s."""
                nonlocal now
                now += 50_000_000
                clock.publish(Clock(clock=Time(sec=now // 10**9, nanosec=now % 10**9)))
                robot.spin(lambda: False, 0.05)
                if scene:
                    robot.see(**scene)
                    robot.spin(lambda: False, 0.05)
                return float(robot.drive(8.0).linear.x)

            robot.clock_ns = lambda: now
            assert robot.spin(lambda: tick(ahead=None) == 8.0, 30), process.log
            now -= 50 * 10**9
            assert robot.spin(lambda: tick() == 0.5, 30), process.log
            assert robot.says('no obstacles have arrived')
            assert robot.spin(lambda: tick(ahead=None) == 8.0, 30), process.log
        finally:
            robot.close()
            assert process.stop() == 0, process.log


def test_a_limit_in_the_words_of_nav2() -> None:
    """Metres a second and no percentage; a stop is not 0, which means no limit to Nav2."""
    def kind(**fields: Any) -> Any:
        return SimpleNamespace(header=Header(), **fields)
    limit = limit_message(kind, 7.5, Time(sec=3))
    assert (limit.percentage, limit.speed_limit, limit.header.stamp.sec) == (False, 7.5, 3)
    assert 0.0 < limit_message(kind, 0.0, Time()).speed_limit < 0.01


def test_clouds_of_another_layout_are_refused() -> None:
    good = cloud_message(Header(), np.zeros(3, OBSTACLE_POINT))
    assert len(read_obstacles(good)) == 3
    good.data = good.data[:-1]
    with pytest.raises(UserError, match='71 bytes'):
        read_obstacles(good)
    with pytest.raises(UserError, match='have the fields x, y'):
        read_obstacles(cloud_message(Header(), np.zeros(3, [('x', 'f4'), ('y', 'f4')])))


def test_the_documented_parameters_are_those_of_the_table() -> None:
    page = (ROOT / 'docs' / 'planning.md').read_text(encoding='utf-8')
    assert render_markdown(GOVERNOR_PARAMETERS) in page
