# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the outputs for planners need besides images: odometry, and the camera's pose."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from std_msgs.msg import Header

from deltaworld_ros.errors import UserError
from deltaworld_ros.node.camera_mount import CameraMount
from deltaworld_ros.node.lead_frames import LeadFrames
from deltaworld_ros.node.odometry_message import read_odometry
from deltaworld_ros.node.parameters import parameter
from deltaworld_ros.node.planner_scene import PlannerSettings, RobotState
from deltaworld_ros.node.stamps import stamp_nanoseconds
from deltaworld_ros.node.throttled_log import ThrottledLog, kind_of
from deltaworld_ros.planning.occupancy import Grid
from deltaworld_ros.planning.odometry import Ego, OdometryBuffer
from deltaworld_ros.planning.plan import past_motion
from deltaworld_ros.planning.risk import Braking

ODOMETRY_QOS = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)


class PlannerInputs:
    """
    The robot's motion and its cameras' poses, for every camera of the node.

    It follows the node's lifecycle; `state` may be called from any thread.
    """

    def __init__(self, node: LifecycleNode, log: ThrottledLog) -> None:
        self._node = node
        self._log = log
        self._lock = threading.Lock()
        self._buffer = OdometryBuffer(parameter(node, 'odom_limit'))
        self._arrived = False
        self._odometry: Subscription | None = None
        self._mount = CameraMount(node, log)
        self._frames = LeadFrames(node, log)
        self._settings = planner_settings(node)

    def activate(self) -> None:
        """Subscribe to the odometry."""
        self._odometry = self._node.create_subscription(
            Odometry, 'odom', self._take_odometry, ODOMETRY_QOS)

    def deactivate(self) -> None:
        """Unsubscribe, and forget how the robot moved."""
        if self._odometry is not None:
            self._node.destroy_subscription(self._odometry)
            self._odometry = None
        self.clear()

    def clear(self) -> None:
        """Forget how the robot moved: the clock jumped."""
        with self._lock:
            self._buffer.clear()
            self._arrived = False

    def state(self, camera: str, header: Header, leads: tuple[float, ...], planned: bool,
              ) -> RobotState:
        """
        Return the robot's state at an image's stamp, and broadcast the frames of its leads.

        `camera` is its name, '' where there is only one; `leads` are in s; `planned` says that
        somebody listens to outputs for planners, who needs the motion even where no odometry has
        ever arrived.
        """
        with self._lock:
            arrived, found = self._arrived, self._buffer.at(stamp_nanoseconds(header))
        if not arrived and not planned:
            return RobotState(settings=self._settings)
        mount, mount_problem = self._mount.of(camera, header.frame_id)
        ego = found if isinstance(found, Ego) else None
        problem = found if isinstance(found, str) else mount_problem
        broadcast = ego is not None and mount is not None and self._frames.broadcast(
            header, ego, mount, [lead for lead in leads if lead > 0])
        return RobotState(self._mount.base_frame, mount, ego, broadcast, problem, self._settings)

    def past(self, stamps_ns: Sequence[int]) -> tuple[NDArray[np.float64], str]:
        """Return the motion (T, 2) of a context as a plan continues it, and why some is NaN."""
        with self._lock:
            found = [self._buffer.at(stamp) for stamp in stamps_ns]
        problems = [one for one in found if isinstance(one, str)]
        unknown = problems[-1] if problems else ''
        if unknown:
            self._log.warn('past motion', f'the past motion of a plan is unknown: {unknown}')
        return past_motion(found), unknown

    def _take_odometry(self, message: Odometry) -> None:
        try:
            ego = read_odometry(message)
            with self._lock:
                jumps = self._buffer.jumps
                self._buffer.add(ego)
                self._arrived = True
                jumped = self._buffer.jumps > jumps
        except UserError as error:
            self._log.error(kind_of(error), f'odometry refused: {error}')
            return
        if jumped:
            self._log.warn('odometry', 'odometry jumped in time, frame or pose and begins anew')


def planner_settings(node: LifecycleNode) -> PlannerSettings:
    """Return the settings that the node's parameters give."""
    return PlannerSettings(
        dynamic_only=parameter(node, 'obstacle_roles') == 'dynamic',
        grid=Grid(parameter(node, 'occupancy_size'), parameter(node, 'occupancy_resolution')),
        half_width=0.5 * parameter(node, 'corridor_width'),
        front=parameter(node, 'robot_front'),
        braking=Braking(*(parameter(node, name) for name in (
            'reaction_time', 'deceleration', 'standstill_distance'))),
        risk_level=parameter(node, 'risk_level'))
