# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Odometry at an image's stamp: interpolated, carried on, or a problem that is named."""

from __future__ import annotations

import numpy as np
import pytest

from deltaworld_ros.errors import UserError
from deltaworld_ros.planning.odometry import Ego, OdometryBuffer
from deltaworld_ros.planning.pose import Pose, Twist, rotation_of_angles


def ego(seconds: float, x: float, *, speed: float = 10.0, yaw: float = 0.0,
        frame: str = 'odom') -> Ego:
    return Ego(round(seconds * 1e9), frame,
               Pose(rotation_of_angles(0, 0, yaw), np.array([x, 0.0, 0.0])),
               Twist(np.array([speed, 0, 0]), np.zeros(3)))


@pytest.fixture
def driving() -> OdometryBuffer:
    """Return odometry of 10 m/s at 10 Hz, from 100.0 to 101.0 s."""
    buffer = OdometryBuffer(limit=0.5)
    for step in range(11):
        buffer.add(ego(100 + 0.1 * step, float(step)))
    return buffer


def at(buffer: OdometryBuffer, seconds: float) -> Ego | str:
    return buffer.at(round(seconds * 1e9))


def test_between_two_messages(driving: OdometryBuffer):
    found = at(driving, 100.25)
    assert isinstance(found, Ego) and found.frame == 'odom'
    assert found.pose.translation[0] == pytest.approx(2.5)
    assert found.twist.speed == pytest.approx(10)
    exact = at(driving, 100.3)
    assert isinstance(exact, Ego) and exact.pose.translation[0] == pytest.approx(3.0)


def test_after_the_newest_it_drives_on_for_a_while(driving: OdometryBuffer):
    found = at(driving, 101.3)
    assert isinstance(found, Ego) and found.pose.translation[0] == pytest.approx(13.0)
    stale = at(driving, 101.6)
    assert isinstance(stale, str) and '0.60 s older than the image' in stale


def test_before_the_first_and_without_any(driving: OdometryBuffer):
    early = at(driving, 99.0)
    assert isinstance(early, str) and 'begins 1.00 s after' in early
    driving.clear()
    assert at(driving, 100.5) == 'no odometry has arrived'


def test_a_pause_is_not_bridged(driving: OdometryBuffer):
    driving.add(ego(103.0, 30.0))
    pause = at(driving, 102.0)
    assert isinstance(pause, str) and 'pauses for 2.00 s' in pause
    assert isinstance(at(driving, 103.1), Ego)


@pytest.mark.parametrize('message', [
    ego(101.1, 500.0), ego(101.1, 11.0, yaw=2.0), ego(50.0, 0.0), ego(101.1, 11.0, frame='map')],
    ids=['pose', 'heading', 'clock', 'frame'])
def test_what_cannot_be_continued_begins_anew(driving: OdometryBuffer, message: Ego):
    driving.add(message)
    assert driving.jumps == 1
    found = driving.at(message.stamp_ns)
    assert isinstance(found, Ego)
    np.testing.assert_array_equal(found.pose.translation, message.pose.translation)


def test_late_and_repeated_messages_are_left_out(driving: OdometryBuffer):
    driving.add(ego(100.95, 900.0))
    driving.add(ego(101.0, 900.0))
    assert driving.jumps == 0
    found = at(driving, 101.0)
    assert isinstance(found, Ego) and found.pose.translation[0] == pytest.approx(10.0)


def test_values_that_are_not_finite_are_refused(driving: OdometryBuffer):
    with pytest.raises(UserError, match='pose holds values'):
        driving.add(ego(101.1, float('nan')))
    with pytest.raises(UserError, match='twist holds values'):
        driving.add(ego(101.1, 11.0, speed=float('inf')))


def test_values_of_no_robot_are_refused(driving: OdometryBuffer):
    """Finite, but products with them are not."""
    for message, text in ((ego(101.1, 1e200), 'the pose holds 1e\\+200; at most 1e\\+09'),
                          (ego(101.1, 11.0, speed=-1e300), 'the twist holds 1e\\+300; at most')):
        with pytest.raises(UserError, match=text):
            driving.add(message)
    assert isinstance(at(driving, 101.0), Ego)


def test_memory_does_not_grow(driving: OdometryBuffer):
    for step in range(2000):
        driving.add(ego(102 + 0.01 * step, 20 + 0.1 * step))
    assert isinstance(at(driving, 121.9), Ego)
    assert isinstance(at(driving, 110.0), str)
