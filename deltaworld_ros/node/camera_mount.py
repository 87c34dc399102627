# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where the cameras are on the robot: by parameter, or by TF where tf2_ros is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.time import Time

from deltaworld_ros.errors import UserError
from deltaworld_ros.node.parameters import camera_names, parameter
from deltaworld_ros.node.throttled_log import ThrottledLog
from deltaworld_ros.planning.pose import Pose, mounts_of_text, rotation_of_quaternion


class CameraMount:
    """Looks up the pose of a camera's optical frame in the robot's frame `base_frame`."""

    def __init__(self, node: LifecycleNode, log: ThrottledLog) -> None:
        self.base_frame: str = parameter(node, 'base_frame')
        text = parameter(node, 'camera_pose')
        self._given = mounts_of_text(text, camera_names(node)) if text.strip() else {}
        self._buffer: Any = None
        if self._given:
            return
        try:
            import tf2_ros
        except ImportError:
            return
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)
        self._errors = (tf2_ros.TransformException,)
        log.info(f'cameras are where TF says, seen from {self.base_frame}')

    def of(self, camera: str, camera_frame: str) -> tuple[Pose | None, str]:
        """Return the pose of a camera by its name and frame, or None and why it is unknown."""
        if self._given:
            return self._given[camera], ''
        if self._buffer is None:
            return None, ('the place of the camera on the robot is unknown: set camera_pose, or '
                          'install tf2_ros')
        try:
            found = self._buffer.lookup_transform(self.base_frame, camera_frame, Time()).transform
            place, turn = found.translation, found.rotation
            return Pose(rotation_of_quaternion(turn.x, turn.y, turn.z, turn.w),
                        np.array([place.x, place.y, place.z])), ''
        except (*self._errors, UserError) as error:
            return None, (f'TF has no {camera_frame!r} in {self.base_frame!r} '
                          f'({error}): set camera_pose, or publish it')
