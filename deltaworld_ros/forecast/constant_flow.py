# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Forecast without a network: the present maps move on as the image moves now (optical flow)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.forecast.warp import find_sources, take_nearest, take_smooth


class ConstantFlow:
    """
    The motion of every pixel between two frames, assumed to go on at constant velocity.

    Dense inverse search (Kroeger et al., 2016) matches the frames; it has no memory and draws no
    random numbers. Frames are RGB (h, w, 3) uint8 of one size, `interval` seconds apart.
    `velocity` (h, w, xy) is that of the content now at each pixel, in pixels a second.
    """

    def __init__(self, previous: NDArray[np.uint8], present: NDArray[np.uint8],
                 interval: float) -> None:
        if not interval > 0:
            raise ValueError(f'interval {interval}: must be greater than 0 s')
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        before, now = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (previous, present))
        backward: Any = search.calc(now, before, None)
        self.velocity: NDArray[np.float32] = -backward / np.float32(interval)

    def warp(self, values: NDArray[Any], lead: float, *, smooth: bool = False) -> NDArray[Any]:
        """
        Return a map (a, b) or (a, b, channels) of the present as it is `lead` seconds later.

        The map shows the same region as the frames, at any size. Each target takes the nearest
        present pixel, or with `smooth` a linear mixture of the four around its source.
        """
        rows, columns = values.shape[:2]
        height, width = self.velocity.shape[:2]
        scale = np.array([columns / width, rows / height], np.float32) * np.float32(lead)
        displacement: Any = cv2.resize(
            self.velocity, (columns, rows), interpolation=cv2.INTER_AREA) * scale
        return (take_smooth if smooth else take_nearest)(values, find_sources(displacement))
