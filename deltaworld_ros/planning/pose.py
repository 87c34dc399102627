# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rigid motions: poses of frames in one another (REP 103: x forward, y left, z up; metres)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deltaworld_ros.errors import UserError

Vector = NDArray[np.float64]

# Axes of an optical frame (z forward, x right, y down; REP 103) in the camera's body frame.
OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


@dataclass(frozen=True, eq=False)
class Pose:
    """A frame's rotation (3, 3) and translation (3,) in m, seen from its parent."""

    rotation: Vector
    translation: Vector

    def __matmul__(self, child: Pose) -> Pose:
        """Return the pose of a frame that `child` gives in this one, seen from this parent."""
        return Pose(self.rotation @ child.rotation, self.apply(child.translation))

    def inverse(self) -> Pose:
        """Return the parent's pose seen from this frame."""
        return Pose(self.rotation.T, -self.rotation.T @ self.translation)

    def apply(self, points: ArrayLike) -> Vector:
        """Return points (..., 3) of this frame in the parent's coordinates."""
        return np.asarray(points, np.float64) @ self.rotation.T + self.translation


IDENTITY = Pose(np.eye(3), np.zeros(3))


@dataclass(frozen=True, eq=False)
class Twist:
    """Velocities of a body in its own frame: linear (3,) in m/s, angular (3,) in rad/s."""

    linear: Vector
    angular: Vector

    @property
    def speed(self) -> float:
        """Return the speed forward in m/s."""
        return float(self.linear[0])

    @property
    def yaw_rate(self) -> float:
        """Return the rate of turning left in rad/s."""
        return float(self.angular[2])

    def after(self, seconds: float) -> Pose:
        """Return where a body that keeps this twist is after some seconds, seen from now."""
        turn = _skew(self.angular * seconds)
        angle = float(np.linalg.norm(self.angular)) * abs(seconds)
        square = turn @ turn
        if angle < 1e-6:   # the series to second order: the quotients below lose all digits
            a, b, c = 1.0, 0.5, 1 / 6
        else:
            a, b = np.sin(angle) / angle, (1 - np.cos(angle)) / angle**2
            c = (angle - np.sin(angle)) / angle**3
        rotation = np.eye(3) + a * turn + b * square
        way = np.eye(3) + b * turn + c * square
        return Pose(rotation, way @ (self.linear * seconds))


def rotation_of_angles(roll: float, pitch: float, yaw: float) -> Vector:
    """Return the rotation (3, 3) about the fixed axes x, y, z, in this order (REP 103); rad."""
    (sr, sp, sy), (cr, cp, cy) = np.sin([roll, pitch, yaw]), np.cos([roll, pitch, yaw])
    return np.array([
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr]])


def rotation_of_quaternion(x: float, y: float, z: float, w: float) -> Vector:
    """Return the rotation (3, 3) of a quaternion; raise `UserError` where it is none."""
    values = np.array([x, y, z, w], np.float64)
    norm = float(np.linalg.norm(values))
    if not (np.isfinite(norm) and 0.5 < norm < 2.0):
        raise UserError(f'orientation ({x:g}, {y:g}, {z:g}, {w:g}): must be a unit quaternion')
    x, y, z, w = values / norm
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]])


def quaternion_of_rotation(rotation: Vector) -> tuple[float, float, float, float]:
    """Return the quaternion (x, y, z, w) with w >= 0 of a rotation (3, 3)."""
    r = rotation
    # The eigenvector of this matrix is the quaternion (Bar-Itzhack, 2000): stable at any angle.
    k = np.array([
        [r[0, 0] - r[1, 1] - r[2, 2], 0, 0, 0],
        [r[0, 1] + r[1, 0], r[1, 1] - r[0, 0] - r[2, 2], 0, 0],
        [r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[2, 2] - r[0, 0] - r[1, 1], 0],
        [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], np.trace(r)]])
    vector = np.linalg.eigh(k)[1][:, -1]
    x, y, z, w = (vector if vector[3] >= 0 else -vector).tolist()
    return x, y, z, w


def between(first: Pose, second: Pose, share: float) -> Pose:
    """Return the pose at a share (0 to 1) of the way from one to another, turning evenly."""
    turn = first.rotation.T @ second.rotation
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    sine, cosine = 0.5 * float(np.linalg.norm(axis)), 0.5 * (float(np.trace(turn)) - 1)
    angle = float(np.arctan2(sine, cosine))
    angular = np.zeros(3) if sine < 1e-9 else axis * (angle / (2 * sine))
    step = Twist(np.zeros(3), angular).after(share)
    return Pose(first.rotation @ step.rotation,
                (1 - share) * first.translation + share * second.translation)


def mount_of_text(text: str) -> Pose:
    """
    Return the pose of a camera's optical frame on the robot from 'x y z roll pitch yaw'.

    The six numbers (m, rad) are those of the camera's body: x forward along its view, y left, z
    up; a level camera that looks ahead has the angles 0 0 0, one that looks down a positive pitch.
    """
    try:
        values = [float(word) for word in text.replace(',', ' ').split()]
    except ValueError:
        values = []
    if len(values) != 6 or not np.isfinite(values).all():
        raise UserError(f'camera_pose {text!r}: must be six numbers, x y z in m and roll pitch '
                        'yaw in rad, such as "1.2 0 1.5 0 0.05 0"')
    return Pose(rotation_of_angles(*values[3:]) @ OPTICAL, np.array(values[:3]))


def mounts_of_text(text: str, cameras: Sequence[str]) -> dict[str, Pose]:
    """Return a `mount_of_text` of each camera, in their order and divided by semicolons."""
    parts = text.split(';')
    if len(parts) != len(cameras):
        raise UserError(f'camera_pose {text!r}: has {len(parts)} poses for {len(cameras)} cameras '
                        f'({", ".join(cameras)}); divide them by semicolons')
    return dict(zip(cameras, (mount_of_text(part) for part in parts), strict=True))


def _skew(vector: Vector) -> Vector:
    x, y, z = vector
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
