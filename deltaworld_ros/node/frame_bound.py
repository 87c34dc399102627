# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The lower bounds of the nearest obstacles of one camera, frame by frame."""

from __future__ import annotations

import numpy as np

from deltaworld_ros.bundle import Manifest
from deltaworld_ros.forecast.live_bound import LiveBound
from deltaworld_ros.forecast.nearest_obstacle import NearestObstacle
from deltaworld_ros.node.frame_result import FrameResult


class FrameBound:
    """Bounds forecasts in metres while somebody listens; without a camera nothing is known."""

    def __init__(self, manifest: Manifest) -> None:
        self._nearest = NearestObstacle(manifest.classes, manifest.depth_maximum)
        self._live = LiveBound(manifest)

    def take(self, result: FrameResult) -> None:
        """Learn from a frame, and give its result bounds where it has a forecast."""
        forecast, scale = result.forecast, result.depth_scale
        if forecast is None or scale is None:
            self._live.forget()
            return
        found = [self._nearest.distances(labels, np.float32(scale) * depth)
                 for labels, depth in zip(
                     forecast.fused_labels, forecast.fused_depth, strict=True)]
        self._live.see(result.stamp_ns, found[0])
        if len(found) > 1:
            result.bounds = dict(zip(
                forecast.leads[1:], self._live.bound(result.stamp_ns, found[1:]), strict=True))

    def forget(self) -> None:
        """Discard what waits for its future."""
        self._live.forget()
