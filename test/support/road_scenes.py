# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Hand-made scenes: a flat road, boxes that stand on it, and a camera that sees them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle.class_lists import STREET
from deltaworld_ros.forecast.forecaster import Forecast
from deltaworld_ros.planning.contacts import role_table

ROWS, COLUMNS, FOCAL = 96, 160, 120.0
INTRINSICS = np.array([[FOCAL, 0, 79.5], [0, FOCAL, 47.5], [0, 0, 1]])
HEIGHT = 1.5    # m, of the camera over the road
MOUNT = '0 0 1.5 0 0 0'
ROLES = role_table(STREET)
ROAD, BUILDING, SKY, VEHICLE, PEDESTRIAN = 0, 5, 6, 7, 8


@dataclass(frozen=True)
class Box:
    """A face towards the camera: distance and place of its middle to the left (m), and size."""

    ahead: float
    left: float
    width: float = 1.8
    height: float = 1.6
    label: int = VEHICLE


def draw(boxes: list[Box], *, blur: float = 0.0) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return labels and depth (a, b) of boxes on a road under the sky."""
    v, u = np.mgrid[:ROWS, :COLUMNS].astype(np.float64)
    right, down = (u - 79.5) / FOCAL, (v - 47.5) / FOCAL
    depth = np.where(down > 0.02, HEIGHT / np.maximum(down, 0.02), 200.0)
    labels = np.where(down > 0.02, ROAD, SKY).astype(np.uint8)
    for box in sorted(boxes, key=lambda one: -one.ahead):
        inside = (np.abs(right * box.ahead + box.left) <= 0.5 * box.width) \
            & (down * box.ahead <= HEIGHT) & (down * box.ahead >= HEIGHT - box.height)
        labels[inside], depth[inside] = box.label, box.ahead
    depth = depth.astype(np.float32)
    if blur:
        depth = np.asarray(cv2.GaussianBlur(depth, (0, 0), blur), np.float32)
    return labels, depth


def forecast(futures: list[list[list[Box]]], present: list[Box],
             weights: list[float] | None = None) -> Forecast:
    """Return the forecast of futures with boxes at each lead; the fused maps are the first's."""
    leads = tuple(round(0.2 * step, 1) for step in range(len(futures[0]) + 1))
    maps = [[draw(boxes) for boxes in one] for one in futures]
    fused = [draw(present), *maps[0]]
    share = np.array(weights or len(futures) * [1 / len(futures)], np.float32)
    return Forecast(
        stamp=10.0, leads=leads, weights=share,
        fused_labels=np.stack([one[0] for one in fused]),
        fused_depth=np.stack([one[1] for one in fused]),
        confidence=np.full((len(leads), ROWS, COLUMNS), 0.75, np.float32),
        labels=np.stack([[one[0] for one in future] for future in maps]),
        depth=np.stack([[one[1] for one in future] for future in maps]),
        context_stamps=(), timings={})
