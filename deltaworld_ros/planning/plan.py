# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Planned and past motion of the robot as a bundle's predictor takes it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.errors import UserError
from deltaworld_ros.planning.odometry import Ego
from deltaworld_ros.planning.pose import Pose
from deltaworld_ros.planning.step_motion import step_motion

# A step whose poses lie further beside one another than this (m/s) is not along its headings.
MAX_SIDEWAYS = 1.0


@dataclass(frozen=True, eq=False)
class Plan:
    """Where the robot is to be: poses in one frame that does not move, at stamps (ns)."""

    stamps_ns: tuple[int, ...]
    poses: tuple[Pose, ...]

    def __post_init__(self) -> None:
        """Raise `UserError` where this is no motion over time."""
        if len(self.poses) < 2:
            raise UserError(f'plan: has {len(self.poses)} poses; at least two with stamps are '
                            'needed')
        for place, pose in enumerate(self.poses):
            if not np.isfinite(pose.translation).all():
                raise UserError(f'plan: pose {place} holds values that are not finite')
        for place in range(1, len(self.stamps_ns)):
            if self.stamps_ns[place] <= self.stamps_ns[place - 1]:
                raise UserError(f'plan: the stamp of pose {place} is not after that of the pose '
                                'before; every pose needs the time at which the robot is there')


def planned_motion(plan: Plan, now_ns: int, leads: Sequence[float]) -> NDArray[np.float64]:
    """
    Return the mean speed (m/s) and yaw rate (rad/s) of each step (S, 2) from now to the leads (s).

    Before its first pose and after its last one a plan goes on as in its first and last step.
    Raise `UserError` for plans that have nothing to do with this time, or whose robot moves
    sideways.
    """
    times = np.array([(stamp - now_ns) / 1e9 for stamp in plan.stamps_ns])
    if times[-1] <= 0:
        raise UserError(f'plan: ended {-times[-1]:.2f} s before the image; stamp its poses by the '
                        "camera's clock")
    if times[0] >= leads[-1]:
        raise UserError(f'plan: begins {times[0]:.2f} s after the image; the last lead is '
                        f'{leads[-1]:g} s')
    motion = step_motion(np.array([ground_place(pose) for pose in plan.poses]), times)
    moved = np.diff([pose.translation[:2] for pose in plan.poses], axis=0)
    beside = np.sqrt(np.maximum(
        (moved**2).sum(1) / np.diff(times)**2 - motion[:, 0]**2, 0.0))
    wrong = np.flatnonzero((beside > MAX_SIDEWAYS) & (beside > np.abs(motion[:, 0])))
    if wrong.size:
        raise UserError(f'plan: after pose {wrong[0]} the robot moves sideways at '
                        f'{beside[wrong[0]]:.1f} m/s; orientations must be along the path')
    return _means(motion, times, [0.0, *leads])


def _means(motion: NDArray[np.float64], times: NDArray[np.float64], ends: Sequence[float],
           ) -> NDArray[np.float64]:
    """Return the means of a motion that is constant between times, over steps from 0 s on."""
    # The first and the last value hold for ever.
    borders = np.concatenate([[-np.inf], times[1:-1], [np.inf]])

    def sum_until(moment: float) -> NDArray[np.float64]:
        spent = np.minimum(borders[1:], moment) - np.maximum(borders[:-1], 0.0)
        total: NDArray[np.float64] = np.clip(spent, 0.0, None) @ motion
        return total
    sums = np.array([sum_until(moment) for moment in ends])
    means: NDArray[np.float64] = np.diff(sums, axis=0) / np.diff(ends)[:, None]
    return means


def past_motion(egos: Sequence[Ego | str]) -> NDArray[np.float64]:
    """
    Return the motion (T, 2) at the frames of a context: over the step that ends there.

    The first is its twist at that time. Where odometry says why it is not known, values are NaN.
    """
    motion = np.full((len(egos), 2), np.nan)
    for place, ego in enumerate(egos):
        if isinstance(ego, str):
            continue
        before = egos[place - 1] if place else ego
        if isinstance(before, str) or before is ego:
            motion[place] = ego.twist.speed, ego.twist.yaw_rate
        elif before.frame == ego.frame and before.stamp_ns < ego.stamp_ns:
            seconds = (ego.stamp_ns - before.stamp_ns) / 1e9
            motion[place] = step_motion(
                [ground_place(before.pose), ground_place(ego.pose)], [0.0, seconds])[0]
    return motion


def ground_place(pose: Pose) -> tuple[float, float, float]:
    """Return x, y (m) and the heading (rad) of a pose."""
    r = pose.rotation
    return (float(pose.translation[0]), float(pose.translation[1]),
            math.atan2(float(r[1, 0]), float(r[0, 0])))
