# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Forecast without a network: the present maps move on as the image moves now (optical flow)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# Rounds of finding the pixel whose own motion leads to the target; two more change nothing.
_ROUNDS = 3


class ConstantFlow:
    """
    The motion of every pixel between two frames, assumed to go on at constant velocity.

    Dense inverse search (Kroeger et al., 2016) matches the frames; it has no memory and draws no
    random numbers. Frames are RGB (h, w, 3) uint8 of one size, `interval` seconds apart.
    """

    def __init__(self, previous: NDArray[np.uint8], present: NDArray[np.uint8],
                 interval: float) -> None:
        if not interval > 0:
            raise ValueError(f'interval {interval}: must be greater than 0 s')
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        before, now = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (previous, present))
        backward: Any = search.calc(now, before, None)
        # Pixels a second, of the content that is now at each pixel.
        self.velocity: NDArray[np.float32] = -backward / np.float32(interval)

    def warp(self, values: NDArray[Any], lead: float, *, smooth: bool = False) -> NDArray[Any]:
        """
        Return a map (a, b) or (a, b, channels) of the present as it is `lead` seconds later.

        The map shows the same region as the frames, at any size. Each target takes the nearest
        present pixel, or with `smooth` the four around its source. What enters the picture
        repeats the edge; what moves behind something else is decided by the motion found there.
        """
        rows, columns = values.shape[:2]
        sources = self._sources(rows, columns, lead)
        if smooth:
            return _bilinear(values, sources)
        at = np.rint(sources).astype(np.intp)
        return values[np.clip(at[..., 1], 0, rows - 1), np.clip(at[..., 0], 0, columns - 1)]

    def _sources(self, rows: int, columns: int, lead: float) -> NDArray[np.float32]:
        """Return for each pixel of a later map the present place (a, b, xy) that moves there."""
        height, width = self.velocity.shape[:2]
        scale = np.array([columns / width, rows / height], np.float32)
        velocity: Any = cv2.resize(
            self.velocity, (columns, rows), interpolation=cv2.INTER_AREA) * scale
        targets = np.stack(np.meshgrid(
            np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32)), axis=-1)
        sources = targets
        for _ in range(_ROUNDS):
            there: Any = cv2.remap(
                velocity, sources, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            sources = targets - np.float32(lead) * there
        return sources


def _bilinear(values: NDArray[Any], sources: NDArray[np.float32]) -> NDArray[Any]:
    """Sample a map (a, b, channels) between its cells; its edge goes on outside."""
    rows, columns = values.shape[:2]
    x = np.clip(sources[..., 0], 0, columns - 1)
    y = np.clip(sources[..., 1], 0, rows - 1)
    left, top = x.astype(np.intp), y.astype(np.intp)
    right, bottom = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
    extra = (...,) + (None,) * (values.ndim - 2)
    across, down = (x - left)[extra], (y - top)[extra]
    upper = values[top, left] * (1 - across) + values[top, right] * across
    lower = values[bottom, left] * (1 - across) + values[bottom, right] * across
    return np.asarray(upper * (1 - down) + lower * down, values.dtype)
