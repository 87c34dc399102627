# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Plans of the robot's motion that arrive on a topic and wait for the next image."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np
from nav_msgs.msg import Path
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from std_msgs.msg import Header

from deltaworld_ros.errors import UserError
from deltaworld_ros.node.stamps import stamp_nanoseconds
from deltaworld_ros.node.throttled_log import ThrottledLog, clip, kind_of
from deltaworld_ros.planning.plan import Plan
from deltaworld_ros.planning.pose import Pose, rotation_of_quaternion

MAX_WAITING = 8       # plans; each costs a forecast
MAX_POSES = 10_000    # of a plan


class PlanInput:
    """
    The plans of one camera that wait, oldest first; it follows the node's lifecycle.

    `refusal` says why the bundle takes no plans, '' where it does. `problem` is what was wrong
    with the newest plan, for diagnostics. `take` may be called from another thread.
    """

    def __init__(self, node: LifecycleNode, topic: str, refusal: str, log: ThrottledLog) -> None:
        self.problem = ''
        self._node, self._topic, self._refusal, self._log = node, topic, refusal, log
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Header, Plan]] = deque()
        self._subscription: Subscription | None = None

    def activate(self) -> None:
        """Subscribe to the plans."""
        self.problem = ''
        self._subscription = self._node.create_subscription(
            Path, self._topic, self._take_message, QoSProfile(depth=MAX_WAITING))

    def deactivate(self) -> None:
        """Unsubscribe, and forget the plans that wait."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
        self.problem = ''
        self.take()

    def take(self) -> list[tuple[Header, Plan]]:
        """Return the plans that wait with their headers, and forget them."""
        with self._lock:
            waiting = list(self._waiting)
            self._waiting.clear()
        return waiting

    def refuse(self, error: UserError) -> None:
        """Say what is wrong with a plan, in the log and in diagnostics."""
        self.problem = clip(str(error))
        self._log.warn(kind_of(error), f'plan refused: {error}')

    def _take_message(self, message: Path) -> None:
        try:
            if self._refusal:
                raise UserError(self._refusal)
            plan = read_plan(message)
        except UserError as error:
            self.refuse(error)
            return
        with self._lock:
            full = len(self._waiting) == MAX_WAITING
            if full:
                self._waiting.popleft()
            self._waiting.append((message.header, plan))
        if full:
            self._log.warn('plans', f'more than {MAX_WAITING} plans wait for an image with a '
                           'whole context: the oldest is dropped')


def read_plan(message: Path) -> Plan:
    """Return the plan of a message; raise `UserError` where it is none."""
    frame = message.header.frame_id
    if not frame:
        raise UserError('plan: header.frame_id is empty; it must name the frame of the poses')
    if len(message.poses) > MAX_POSES:
        raise UserError(f'plan: has {len(message.poses)} poses; at most {MAX_POSES} are accepted')
    poses = []
    for place, stamped in enumerate(message.poses):
        if stamped.header.frame_id not in ('', frame):
            raise UserError(f'plan: pose {place} is in the frame {stamped.header.frame_id!r} and '
                            f'the plan in {frame!r}; all must be in one frame')
        point, turn = stamped.pose.position, stamped.pose.orientation
        try:
            rotation = rotation_of_quaternion(turn.x, turn.y, turn.z, turn.w)
        except UserError as error:
            raise UserError(f'plan: pose {place}: {error}') from None
        poses.append(Pose(rotation, np.array([point.x, point.y, point.z])))
    return Plan(tuple(stamp_nanoseconds(one.header) for one in message.poses), tuple(poses))
