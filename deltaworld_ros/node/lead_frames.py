# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Broadcast where the camera will be at each lead, so that TF users project its maps right."""

from __future__ import annotations

from collections.abc import Sequence

from geometry_msgs.msg import TransformStamped
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from std_msgs.msg import Header

from deltaworld_ros.node.frame_result import lead_frame
from deltaworld_ros.node.parameters import parameter
from deltaworld_ros.node.throttled_log import ThrottledLog
from deltaworld_ros.planning.odometry import Ego
from deltaworld_ros.planning.points import lead_cameras
from deltaworld_ros.planning.pose import Pose, quaternion_of_rotation

TF_QOS = QoSProfile(depth=100)   # that of tf2_ros


class LeadFrames:
    """A broadcaster on /tf, where the parameter `lead_frames` and tf2_msgs allow it."""

    def __init__(self, node: LifecycleNode, log: ThrottledLog) -> None:
        self._publisher = None
        self._log = log
        self._told = not parameter(node, 'lead_frames')
        if self._told:
            return
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError:
            return
        self._told = True
        self._message_type = TFMessage
        self._publisher = node.create_publisher(TFMessage, '/tf', TF_QOS)

    def broadcast(self, header: Header, ego: Ego, mount: Pose, leads: Sequence[float]) -> bool:
        """
        Broadcast the camera's pose at each lead (s), seen from the odometry's frame.

        `header` is that of the image; return whether there are such frames.
        """
        if not self._told:
            self._told = True
            self._log.info('tf2_msgs is not installed: no frames of leads are broadcast, and the '
                           'maps of every lead keep the frame of the camera')
        if self._publisher is None or not leads:
            return False
        self._publisher.publish(
            self._message_type(transforms=lead_transforms(header, ego, mount, leads)))
        return True


def lead_transforms(header: Header, ego: Ego, mount: Pose, leads: Sequence[float],
                    ) -> list[TransformStamped]:
    """Return the camera's pose at each lead (s), seen from the odometry's frame."""
    cameras = lead_cameras(mount, ego.twist, leads)
    return [_transform(header, ego, camera, lead)
            for camera, lead in zip(cameras, leads, strict=True)]


def _transform(header: Header, ego: Ego, camera: Pose, lead: float) -> TransformStamped:
    pose = ego.pose @ camera
    message = TransformStamped(
        header=Header(stamp=header.stamp, frame_id=ego.frame),
        child_frame_id=lead_frame(header.frame_id, lead))
    place, turn = message.transform.translation, message.transform.rotation
    place.x, place.y, place.z = pose.translation.tolist()
    turn.x, turn.y, turn.z, turn.w = quaternion_of_rotation(pose.rotation)
    return message
