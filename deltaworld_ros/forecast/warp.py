# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Move maps along a field of displacements, looking up where each target pixel comes from."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]   # (a, b, xy) in pixels
# Rounds of finding the pixel whose own motion leads to the target; two more change nothing.
_ROUNDS = 3


def find_sources(displacement: Field) -> Field:
    """
    Return for each target pixel the place (a, b, xy) whose content moves there.

    `displacement` is by source pixel. Where several places move to one target, the motion found
    on the way decides; what enters the picture repeats the edge.
    """
    rows, columns = displacement.shape[:2]
    targets = np.stack(np.meshgrid(
        np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32)), axis=-1)
    sources = targets
    for _ in range(_ROUNDS):
        there: Any = cv2.remap(
            displacement, sources, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        sources = targets - there
    return sources


def take_nearest(values: NDArray[Any], sources: Field) -> NDArray[Any]:
    """Return the pixels of a map (a, b, ...) nearest to the sources; outside its edge goes on."""
    rows, columns = values.shape[:2]
    at = np.rint(sources).astype(np.intp)
    return values[np.clip(at[..., 1], 0, rows - 1), np.clip(at[..., 0], 0, columns - 1)]


def take_smooth(values: NDArray[Any], sources: Field) -> NDArray[Any]:
    """Return a map (a, b, ...) sampled linearly at the sources; outside its edge goes on."""
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
