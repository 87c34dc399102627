# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Plans over DDS: answered one by one, refused in one line each, and the node goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

pytest.importorskip('rclpy')
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry, Path
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import String
from support.ros_session import Client, running
from support.tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.live


@pytest.fixture(scope='module')
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp('plan')
    write_tiny_bundle(folder / 'bundle', motion=True)
    with running(folder / 'log', bundle=folder / 'bundle', autostart=True,
                 camera_pose='"1.0 0 1.5 0 0 0"') as client:
        client.connect()
        client.wait(lambda: client.camera_infos.get_subscription_count() > 0, 'subscription')
        client.camera_infos.publish(CameraInfo(
            header=client.header(), width=160, height=120,
            k=[200., 0., 79.5, 0., 200., 59.5, 0., 0., 1.]))
        yield client


NUMBERS = count()


def plan(client: Client, speed: float, begin: float = 0.0) -> Path:
    """Return a plan to go straight on at a speed (m/s) from some seconds after the last image."""
    message = Path(header=client.header('odom'))
    message.header.stamp.nanosec = next(NUMBERS)   # tells plans apart
    for step in range(6):
        pose = PoseStamped()
        stamp = client.stamp + round((begin + 0.2 * step) * 1e9)
        pose.header.stamp.sec, pose.header.stamp.nanosec = divmod(stamp, 10**9)
        pose.pose.position.x = 0.2 * step * speed
        message.poses.append(pose)
    return message


def publisher_of_plans(client: Client) -> Any:
    """Return a publisher that the node has found."""
    publisher = client.node.create_publisher(Path, '/forecast/plan', 10)
    client.wait(lambda: publisher.get_subscription_count() > 0, 'subscription to plans')
    return publisher


def answers(client: Client, *plans: Path) -> list[dict[str, Any]]:
    """Return what comes of plans with the next images."""
    found = client.subscribe(String, 'plan/risk')
    publisher = publisher_of_plans(client)
    for one in plans:
        publisher.publish(one)
    numbers = [one.header.stamp.nanosec for one in plans]

    def own() -> list[dict[str, Any]]:
        read = [json.loads(one.data) for one in found]
        return [one for one in read if one['plan']['nanosec'] in numbers]
    client.feed_until(lambda: len(own()) == len(plans), 'the answers')
    return own()


def test_plans_are_not_worked_on_for_nobody(node: Client) -> None:
    publisher = publisher_of_plans(node)
    publisher.publish(plan(node, 3.0))
    node.feed_until(lambda: node.process.lines(
        'plan refused: plan: nobody subscribes to the answers on /forecast/plan/risk'), 'the line')


def test_several_plans_are_answered_in_their_order(node: Client) -> None:
    """Faster ones bring the scene nearer in this bundle; nothing is known of the past yet."""
    given = [plan(node, speed) for speed in (2.0, 12.0, 5.0)]
    found = answers(node, *given)
    assert [one['plan']['nanosec'] for one in found] == [
        one.header.stamp.nanosec for one in given]
    assert all(one['valid'] and one['frame_id'] == 'base_link' for one in found), found
    assert [one['speed'] for one in found] == [[2.0] * 3, [12.0] * 3, [5.0] * 3]
    assert found[0]['leads'] == [0.2, 0.4, 0.6] and found[0]['yaw_rate'] == [0.0] * 3
    slow, fast, _ = (one['cvar'][-1] for one in found)
    assert fast < slow
    assert found[0]['past'] == 'no odometry has arrived'
    node.fresh_diagnostics()
    assert 'the newest plan: past motion is unknown' in node.diagnostics_text


def test_odometry_tells_the_past(node: Client) -> None:
    publisher = node.node.create_publisher(Odometry, 'odom', 10)
    node.wait(lambda: publisher.get_subscription_count() > 0, 'subscription to the odometry')
    found = node.subscribe(String, 'plan/risk')
    plans = publisher_of_plans(node)

    def known() -> bool:
        message = Odometry(header=node.header('odom'), child_frame_id='base_link')
        message.pose.pose.position.x = 4e-9 * (node.stamp % 10**12)
        message.twist.twist.linear.x = 4.0
        publisher.publish(message)
        plans.publish(plan(node, 4.0))
        return any(json.loads(one.data).get('past') == 'known' for one in found)
    node.feed_until(known, 'an answer that knows the past')
    assert node.fresh_diagnostics()['plan_problem'] == ''


@pytest.mark.parametrize('change, line', [
    (lambda plan: plan.poses.clear(), 'plan refused: plan: has 0 poses'),
    (lambda plan: setattr(plan.header, 'frame_id', ''), 'header.frame_id is empty'),
    (lambda plan: setattr(plan.poses[2].header, 'frame_id', 'map'),
     "pose 2 is in the frame 'map' and the plan in 'odom'"),
    (lambda plan: setattr(plan.poses[1].pose.position, 'x', float('nan')),
     'pose 1 holds values that are not finite'),
    (lambda plan: setattr(plan.poses[3].pose.orientation, 'w', 0.0),
     'pose 3: orientation (0, 0, 0, 0): must be a unit quaternion'),
    (lambda plan: setattr(plan.poses[1].header, 'stamp', plan.poses[0].header.stamp),
     'the stamp of pose 1 is not after'),
], ids=['empty', 'no frame', 'two frames', 'NaN', 'no rotation', 'stamps'])
def test_what_is_no_plan_is_refused_in_a_line(node: Client, change: Any, line: str) -> None:
    publisher = publisher_of_plans(node)
    broken = plan(node, 3.0)
    change(broken)
    publisher.publish(broken)
    node.wait(lambda: node.process.lines(line), 'the complaint')
    assert line.removeprefix('plan refused: ') in node.fresh_diagnostics()['plan_problem']


def test_a_plan_of_the_past_is_answered_as_not_valid(node: Client) -> None:
    [found] = answers(node, plan(node, 3.0, begin=-5.0))
    assert not found['valid'] and found['reason'].startswith('plan: ended')
    assert 's before the image' in node.fresh_diagnostics()['plan_problem']
    [found] = answers(node, plan(node, 3.0))
    assert found['valid'], found   # the node goes on


def test_a_bundle_without_motion_says_so(raw: Client) -> None:
    publisher = publisher_of_plans(raw)
    publisher.publish(plan(raw, 3.0))
    raw.wait(lambda: raw.process.lines(
        "plan refused: bundle 'tiny': its predictor was not trained with the motion"), 'the line')
    assert 'was not trained with the motion' in raw.fresh_diagnostics()['plan_problem']
    raw.feed_until(lambda: 'the newest plan: bundle' in raw.diagnostics_text, 'the warning')
