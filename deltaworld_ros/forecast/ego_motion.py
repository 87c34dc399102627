# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Forecast without a network: a still world seen from a camera that drives on as it does now."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.forecast.warp import Field, find_sources, take_nearest, take_smooth

_NEAREST = 0.1


@dataclass(frozen=True)
class Motion:
    """Speed forward in m/s and rate of turning left in rad/s (a base_link of REP 103)."""

    speed: float
    yaw_rate: float

    def displacement(self, lead: float) -> tuple[float, float, float]:
        """Return how far right and forward (m) it goes in `lead` seconds, and its turn (rad)."""
        turn = self.yaw_rate * lead
        way = self.speed * lead
        if abs(turn) < 1e-6:
            return 0.0, way, turn
        return -way * (1 - math.cos(turn)) / turn, way * math.sin(turn) / turn, turn


class EgoMotion:
    """
    Present depth reprojected to where the camera will be.

    The camera looks along the vehicle's x axis from its centre of turning; how it is mounted is
    not used. `intrinsics` (3, 3) are of maps of the depth's size; depth (a, b) is in metres, and
    `far` (a, b) says where nothing is near enough to move, such as in the sky.
    """

    def __init__(self, depth: NDArray[np.float32], far: NDArray[np.bool_],
                 intrinsics: NDArray[np.float64], motion: Motion) -> None:
        self._depth, self._far = depth, far | ~np.isfinite(depth)
        self._intrinsics, self._motion = intrinsics, motion

    def warp(self, labels: NDArray[np.uint8], lead: float,
             ) -> tuple[NDArray[np.uint8], NDArray[np.float32], Field]:
        """Return labels and depth (a, b) `lead` seconds later, and the displacement (a, b, xy)."""
        displacement, depth = self._move(lead)
        sources = find_sources(displacement)
        return take_nearest(labels, sources), take_nearest(depth, sources), displacement

    def _move(self, lead: float) -> tuple[Field, NDArray[np.float32]]:
        """Return how each pixel moves in the image and its new depth (a, b)."""
        rows, columns = self._depth.shape
        u, v = np.meshgrid(np.arange(columns), np.arange(rows))
        fx, fy = self._intrinsics[0, 0], self._intrinsics[1, 1]
        cx, cy = self._intrinsics[0, 2], self._intrinsics[1, 2]
        far = self._far
        z = np.where(far, 1e6, self._depth).astype(np.float64)
        right, forward, turn = self._motion.displacement(lead)
        x, y = (u - cx) / fx * z - right, (v - cy) / fy * z
        ahead = z - forward
        new_x = math.cos(turn) * x + math.sin(turn) * ahead
        new_z = np.maximum(math.cos(turn) * ahead - math.sin(turn) * x, _NEAREST)
        moved = np.stack([fx * new_x / new_z + cx - u, fy * y / new_z + cy - v], axis=-1)
        return moved.astype(np.float32), np.where(far, self._depth, new_z).astype(np.float32)


def warp_features(features: NDArray[np.float32], rows: int, displacement: Field,
                  ) -> NDArray[np.float32]:
    """Move features (N, D) of `rows` rows along a displacement of maps of any size."""
    grid = features.reshape(rows, -1, features.shape[-1])
    columns = grid.shape[1]
    scale = np.array([columns / displacement.shape[1], rows / displacement.shape[0]], np.float32)
    coarse = np.asarray(cv2.resize(
        displacement, (columns, rows), interpolation=cv2.INTER_AREA) * scale, np.float32)
    return take_smooth(grid, find_sources(coarse)).reshape(features.shape)
