# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Maps of labels and depth to points in the camera's optical frame (REP 103: z forward)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.planning.pose import Pose, Twist


def map_points(depth: NDArray[np.float32], intrinsics: NDArray[np.float64],
               ) -> NDArray[np.float32]:
    """
    Return the points (a, b, 3) in m of a depth map (a, b), NaN where the depth is not finite.

    `intrinsics` (3, 3) are of the map; pixel centres are at whole numbers.
    """
    rows, columns = depth.shape
    right = ((np.arange(columns) - intrinsics[0, 2]) / intrinsics[0, 0]).astype(np.float32)
    down = ((np.arange(rows) - intrinsics[1, 2]) / intrinsics[1, 1]).astype(np.float32)
    known = np.where(np.isfinite(depth), depth, np.float32(np.nan))
    points = np.empty((rows, columns, 3), np.float32)
    np.multiply(known, right, out=points[..., 0])
    np.multiply(known, down[:, None], out=points[..., 1])
    points[..., 2] = known
    return points


def lead_cameras(mount: Pose, twist: Twist | None, leads: Sequence[float]) -> list[Pose]:
    """
    Return where the camera is at each lead (s), seen from the robot's frame at the present.

    `mount` is the camera's pose on the robot, which keeps its twist. Without a twist the camera is
    taken to stand still, and every point lies too near by the way that it really goes.
    """
    return [mount if twist is None else twist.after(lead) @ mount for lead in leads]
