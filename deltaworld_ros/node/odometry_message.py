# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""nav_msgs/Odometry to the robot's pose and twist."""

from __future__ import annotations

import numpy as np
from nav_msgs.msg import Odometry

from deltaworld_ros.node.stamps import stamp_nanoseconds
from deltaworld_ros.planning.odometry import Ego
from deltaworld_ros.planning.pose import Pose, Twist, rotation_of_quaternion


def read_odometry(message: Odometry) -> Ego:
    """Return the pose in the odometry's frame; raise `UserError` where it is no pose."""
    place, turn = message.pose.pose.position, message.pose.pose.orientation
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    return Ego(
        stamp_nanoseconds(message.header),
        message.header.frame_id,
        Pose(rotation_of_quaternion(turn.x, turn.y, turn.z, turn.w),
             np.array([place.x, place.y, place.z])),
        Twist(np.array([linear.x, linear.y, linear.z]),
              np.array([angular.x, angular.y, angular.z])))
