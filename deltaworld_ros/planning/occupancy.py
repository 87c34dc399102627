# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How probably each cell of a grid around the robot is occupied within the forecast's horizon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.planning.obstacles import EVERY_FUTURE, Obstacles
from deltaworld_ros.planning.pose import Pose

UNKNOWN = -1.0


@dataclass(frozen=True)
class Grid:
    """`size` m ahead and as much across, in cells of `resolution` m; row y, column x."""

    size: float
    resolution: float

    @property
    def cells(self) -> int:
        """Return the number of cells along each side."""
        return max(1, round(self.size / self.resolution))

    @property
    def origin(self) -> tuple[float, float]:
        """Return x and y (m) of the corner of the first cell in the robot's frame."""
        return 0.0, -0.5 * self.cells * self.resolution

    def places(self, points: NDArray[np.floating]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return the flat cell (n,) of points (n, 2+), and which of them lie in the grid."""
        origin = np.array(self.origin)
        place = np.floor((points[:, :2] - origin) / self.resolution).astype(np.intp)
        inside = ((place >= 0) & (place < self.cells)).all(axis=1)
        return place[:, 1] * self.cells + place[:, 0], inside


def occupancy(obstacles: Obstacles, weights: NDArray[np.floating], grid: Grid,
              ) -> NDArray[np.float32]:
    """
    Return the probability (rows, columns) that a cell holds an obstacle at some lead.

    That is the weight of the futures with a point in the cell. `weights` (K,) sum to 1; what is
    there in every future counts with the whole of it.
    """
    cell, inside = grid.places(obstacles.points)
    result = np.zeros(grid.cells**2, np.float32)
    for future, weight in enumerate(weights):
        hit = np.zeros(grid.cells**2, bool)
        hit[cell[inside & (obstacles.future == future)]] = True
        result += np.float32(weight) * hit
    result[cell[inside & (obstacles.future == EVERY_FUTURE)]] = 1.0
    return np.minimum(result, 1.0).reshape(grid.cells, grid.cells)


def hide_unseen(probability: NDArray[np.float32], grid: Grid, present: NDArray[np.floating],
                camera: Pose, intrinsics: NDArray[np.float64], columns: int,
                ) -> NDArray[np.float32]:
    """
    Return the grid with `UNKNOWN` where no obstacle is expected and nothing is seen.

    A cell is seen where its column of the picture shows it in front of the nearest obstacle that
    is there now. `present` (n, 3) are the present obstacles and `camera` the camera's pose, in the
    robot's frame; `intrinsics` (3, 3) are those of maps with so many columns.
    """
    nearest = np.full(columns, np.inf)
    column, depth, seen = _columns(present, camera, intrinsics, columns)
    np.minimum.at(nearest, column[seen], depth[seen])
    ticks = (np.arange(grid.cells) + 0.5) * grid.resolution
    x, y = np.meshgrid(ticks + grid.origin[0], ticks + grid.origin[1])
    ground = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)
    column, depth, seen = _columns(ground, camera, intrinsics, columns)
    free = (seen & (depth < nearest[column])).reshape(probability.shape)
    return np.where((probability > 0) | free, probability, np.float32(UNKNOWN))


def _columns(points: NDArray[np.floating], camera: Pose, intrinsics: NDArray[np.float64],
             columns: int) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.bool_]]:
    """Return the picture's column and the depth (n,) of points (n, 3), and which it shows."""
    optical = camera.inverse().apply(points)
    depth = optical[:, 2]
    ahead = depth > 1e-3
    column = np.rint(intrinsics[0, 0] * optical[:, 0] / np.where(ahead, depth, 1.0)
                     + intrinsics[0, 2])
    seen = ahead & (column >= 0) & (column < columns)
    return np.where(seen, column, 0).astype(np.intp), depth, seen
