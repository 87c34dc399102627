# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The robot's motion at the stamp of an image, out of odometry that may pause, jump or end."""

from __future__ import annotations

import bisect
from dataclasses import dataclass

import numpy as np

from deltaworld_ros.errors import UserError
from deltaworld_ros.planning.pose import Pose, Twist, between

KEPT = 5.0          # s of odometry behind the newest message
# A pose this much further than the twist explains was set anew (m and rad).
JUMP_DISTANCE, JUMP_ANGLE = 1.0, 0.3
# No robot is farther from its origin (m) or faster (m/s, rad/s), and products could overflow.
_MAX_PLACE, _MAX_TWIST = 1e9, 1e4


@dataclass(frozen=True, eq=False)
class Ego:
    """Pose of the robot in `frame`, which does not move, and its twist, at one stamp (ns)."""

    stamp_ns: int
    frame: str
    pose: Pose
    twist: Twist


class OdometryBuffer:
    """
    Keeps the newest odometry and tells where the robot was, and how it moved, at a stamp.

    Between two messages at most `limit` seconds apart the pose and twist are interpolated; up to
    `limit` after the newest they go on at its twist. Anything else is a problem with a text, never
    a guess. For use by one thread at a time.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.jumps = 0
        self._messages: list[Ego] = []

    def add(self, message: Ego) -> None:
        """
        Take a message; what cannot be continued begins anew.

        A stamp that goes back by more than `limit`, another frame, or a pose that jumps forgets
        all before; a message that is only late or repeated is left out. Raise `UserError` for
        values that are not finite, or larger than those of any robot.
        """
        for name, values, most in (('pose', message.pose.translation, _MAX_PLACE),
                                   ('twist', message.twist.linear, _MAX_TWIST),
                                   ('twist', message.twist.angular, _MAX_TWIST)):
            if not np.isfinite(values).all():
                raise UserError(f'odom: the {name} holds values that are not finite')
            if np.abs(values).max() > most:
                raise UserError(f'odom: the {name} holds {np.abs(values).max():g}; at most '
                                f'{most:g} is accepted')
        if self._messages:
            newest = self._messages[-1]
            behind = (newest.stamp_ns - message.stamp_ns) / 1e9
            if 0 <= behind <= self.limit and newest.frame == message.frame:
                return
            if behind > 0 or newest.frame != message.frame or _jumped(newest, message):
                self.jumps += 1
                self._messages = []
        self._messages.append(message)
        oldest = message.stamp_ns - round(KEPT * 1e9)
        del self._messages[:bisect.bisect_left(
            self._messages, oldest, key=lambda one: one.stamp_ns)]

    def clear(self) -> None:
        """Forget everything: the clock jumped, or the node was deactivated."""
        self._messages = []

    def at(self, stamp_ns: int) -> Ego | str:
        """Return pose and twist at a stamp (ns), or why they are not known."""
        if not self._messages:
            return 'no odometry has arrived'
        place = bisect.bisect_right(self._messages, stamp_ns, key=lambda one: one.stamp_ns)
        if place == 0:
            early = (self._messages[0].stamp_ns - stamp_ns) / 1e9
            return f'odometry begins {early:.2f} s after the image'
        before = self._messages[place - 1]
        passed = (stamp_ns - before.stamp_ns) / 1e9
        if place == len(self._messages):
            if passed > self.limit:
                return (f'odometry is {passed:.2f} s older than the image, limit '
                        f'{self.limit:g} s')
            return Ego(stamp_ns, before.frame, before.pose @ before.twist.after(passed),
                       before.twist)
        after = self._messages[place]
        gap = (after.stamp_ns - before.stamp_ns) / 1e9
        if gap > self.limit:
            return f'odometry pauses for {gap:.2f} s around the image, limit {self.limit:g} s'
        share = passed / gap
        return Ego(stamp_ns, before.frame, between(before.pose, after.pose, share), Twist(
            (1 - share) * before.twist.linear + share * after.twist.linear,
            (1 - share) * before.twist.angular + share * after.twist.angular))


def _jumped(newest: Ego, message: Ego) -> bool:
    """Say whether the pose moved further than either twist explains."""
    seconds = (message.stamp_ns - newest.stamp_ns) / 1e9
    moved = newest.pose.inverse() @ message.pose
    cosine = np.clip(0.5 * (np.trace(moved.rotation) - 1), -1, 1)
    twists = (newest.twist, message.twist)
    fastest = max(float(np.linalg.norm(one.linear)) for one in twists)
    turning = max(float(np.linalg.norm(one.angular)) for one in twists)
    return bool(
        np.linalg.norm(moved.translation) > JUMP_DISTANCE + 1.5 * fastest * seconds
        or np.arccos(cosine) > JUMP_ANGLE + 1.5 * turning * seconds)
