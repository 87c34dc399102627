# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Obstacles as a laser scanner would see them: the nearest in each direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.planning.pose import Pose

_POINTS = 8   # of an image column


@dataclass(frozen=True, eq=False)
class Scan:
    """Ranges (n,) in m, inf where nothing is, at evenly spaced angles (rad, left is positive)."""

    first_angle: float
    step: float
    ranges: NDArray[np.float32]


def column_points(distances: NDArray[np.float64], intrinsics: NDArray[np.float64],
                  camera: Pose) -> NDArray[np.float64]:
    """
    Return points (n, 3) over the width of image columns at distances (b,) m, in `camera`'s frame.

    Distances are along the optical axis, NaN where there is nothing.
    """
    column = np.nonzero(np.isfinite(distances))[0]
    ahead = distances[column]
    aside = (column - intrinsics[0, 2]) / intrinsics[0, 0] * ahead
    centres = camera.apply(np.stack([aside, np.zeros_like(ahead), ahead], axis=-1))
    return over_columns(centres, intrinsics, camera)


def over_columns(points: NDArray[np.floating], intrinsics: NDArray[np.float64],
                 camera: Pose) -> NDArray[np.float64]:
    """
    Return each point (n, 3) of `camera`'s frame several times, over the width of its image column.

    So a scan has no gaps between neighbouring columns: from elsewhere than the camera they are not
    evenly spaced, and a ray through a gap would clear what stands behind.
    """
    depth = camera.inverse().apply(points)[:, 2]
    inside = (np.arange(_POINTS) + 0.5) / _POINTS - 0.5
    aside = inside * depth[:, None] / intrinsics[0, 0]
    return (points[:, None] + aside[..., None] * camera.rotation[:, 0]).reshape(-1, 3)


def scan_points(points: NDArray[np.floating], camera: Pose, intrinsics: NDArray[np.float64],
                columns: int) -> Scan:
    """
    Return the nearest of points (n, 3) of the robot's frame in each direction from its origin.

    The directions are those that a camera with so many columns sees, one for each column.
    """
    edges = (np.array([columns - 0.5, -0.5]) - intrinsics[0, 2]) / intrinsics[0, 0]
    rays = np.stack([edges, np.zeros(2), np.ones(2)], axis=-1) @ camera.rotation.T
    first, last = np.arctan2(rays[:, 1], rays[:, 0])
    step = ((last - first) % (2 * np.pi)) / columns
    ranges = np.full(columns, np.inf, np.float32)
    if len(points):
        angle = np.arctan2(points[:, 1], points[:, 0])
        place = np.floor(((angle - first) % (2 * np.pi)) / step).astype(np.intp)
        inside = place < columns
        distance = np.hypot(points[:, 0], points[:, 1])
        np.minimum.at(ranges, place[inside], distance[inside].astype(np.float32))
    return Scan(float(first + 0.5 * step), float(step), ranges)
