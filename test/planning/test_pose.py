# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Poses, twists and what a user writes for the camera's mount."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deltaworld_ros.errors import UserError
from deltaworld_ros.planning.pose import (
    IDENTITY,
    Pose,
    Twist,
    between,
    mount_of_text,
    quaternion_of_rotation,
    rotation_of_angles,
    rotation_of_quaternion,
)


def test_a_level_camera_sees_ahead_and_to_the_right():
    mount = mount_of_text('1.0 0 1.5 0 0 0')
    np.testing.assert_allclose(mount.apply([0, 0, 10]), [11, 0, 1.5], atol=1e-12)
    np.testing.assert_allclose(mount.apply([2, 1, 10]), [11, -2, 0.5], atol=1e-12)


def test_a_positive_pitch_looks_down_and_a_positive_yaw_left():
    down = mount_of_text('0, 0, 1.5, 0, 0.1, 0').apply([0, 0, 10])
    assert down[2] == pytest.approx(1.5 - 10 * math.sin(0.1))
    left = mount_of_text('0 0 0 0 0 0.1').apply([0, 0, 10])
    assert left[1] == pytest.approx(10 * math.sin(0.1))


@pytest.mark.parametrize('text', ['', '1 2 3', '1 2 3 4 5 x', '0 0 nan 0 0 0', '0 0 0 0 0 0 0'])
def test_a_mount_that_is_none_is_refused(text: str):
    with pytest.raises(UserError, match='six numbers'):
        mount_of_text(text)


@pytest.mark.parametrize('angles', [
    (0, 0, 0), (0.3, -0.2, 2.9), (math.pi, 0, 0), (0, 0, math.pi), (1.0, 1.5, -3.0)])
def test_quaternions_and_rotations_agree(angles: tuple[float, float, float]):
    rotation = rotation_of_angles(*angles)
    quaternion = quaternion_of_rotation(rotation)
    assert quaternion[3] >= 0 and np.linalg.norm(quaternion) == pytest.approx(1)
    np.testing.assert_allclose(rotation_of_quaternion(*quaternion), rotation, atol=1e-9)


def test_a_message_without_orientation_is_refused():
    with pytest.raises(UserError, match='unit quaternion'):
        rotation_of_quaternion(0, 0, 0, 0)


def test_a_constant_twist_goes_round_its_circle():
    speed, rate = 2.0, math.pi / 2
    pose = Twist(np.array([speed, 0, 0]), np.array([0, 0, rate])).after(1.0)
    radius = speed / rate
    np.testing.assert_allclose(pose.translation, [radius, radius, 0], atol=1e-9)
    np.testing.assert_allclose(pose.rotation, rotation_of_angles(0, 0, rate), atol=1e-9)
    straight = Twist(np.array([3.0, 0, 0]), np.zeros(3)).after(0.5)
    np.testing.assert_allclose(straight.translation, [1.5, 0, 0])


def test_halfway_between_two_poses():
    second = Pose(rotation_of_angles(0, 0, 3.0), np.array([2.0, 4, 0]))
    half = between(IDENTITY, second, 0.5)
    np.testing.assert_allclose(half.translation, [1, 2, 0])
    np.testing.assert_allclose(half.rotation, rotation_of_angles(0, 0, 1.5), atol=1e-9)
    same = between(second, second, 0.3)
    np.testing.assert_allclose(same.rotation, second.rotation, atol=1e-12)


def test_there_and_back():
    pose = Pose(rotation_of_angles(0.1, 0.2, 0.3), np.array([1.0, 2, 3]))
    back = pose.inverse() @ pose
    np.testing.assert_allclose(back.rotation, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(back.translation, 0, atol=1e-12)
