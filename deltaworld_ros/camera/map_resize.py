# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Resize class and depth maps without moving them.

Pixel i covers the interval from i to i + 1, so its centre is at i + 0.5. A map of floating
point is a depth map, NaN where unknown; any other map holds class ids. Maps are (h, w) or, with
several channels, (h, w, K).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# Two depths that differ by more than this factor lie on two surfaces: they are not mixed.
EDGE_FACTOR = 1.25
# Centres this near to a border between pixels lie on it.
_TOLERANCE = 1e-6

Region = tuple[float, float, float, float]


def reduce_map(
        values: NDArray[Any], size: tuple[int, int], region: Region | None = None) -> NDArray[Any]:
    """
    Return the value at the centre of each of (width, height) cells, as a map of that size.

    `region` is the part (x, y, width, height) in pixels of `values` that the cells cover, the
    whole map if None. Where a centre lies on a border between pixels, the two or four pixels
    around it vote: the most frequent class wins, and depths of one surface are averaged. Ties
    go to opposite corners in neighbouring cells, so that edges do not move on average. Unknown
    depth does not vote.
    """
    height, width = values.shape[:2]
    x, y, wide, high = (0.0, 0.0, width, height) if region is None else region
    rows = _pixels_at_centres(height, size[1], y, high)
    columns = _pixels_at_centres(width, size[0], x, wide)
    # `take` is much faster than indexing with two arrays.
    corners = [values.take(row, 0).take(column, 1) for row in rows for column in columns]
    return corners[0] if len(corners) == 1 else _voted(np.stack(corners))


def enlarge_map(values: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """
    Return a map at another size (width, height), usually a larger one, whole factor or not.

    Classes take the nearest pixel. Depth is linear between the centres of pixels of one
    surface and takes the nearest pixel elsewhere, so that neither edges nor unknown pixels
    spread. A size that is smaller along an axis is sampled as by `reduce_map`.
    """
    height, width = values.shape[:2]
    if (width, height) == tuple(size):
        return values
    nearest = reduce_map(values, size)
    is_depth = np.issubdtype(values.dtype, np.floating)
    if not is_depth or size[0] < width or size[1] < height:
        return nearest
    resized: Any = cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)
    linear: NDArray[Any] = resized.reshape(nearest.shape)   # OpenCV drops an axis of length 1
    smooth = _one_surface(values).take(_corners_before(height, size[1]), 0)
    np.copyto(linear, nearest, where=~smooth.take(_corners_before(width, size[0]), 1))
    return linear


def _pixels_at_centres(
        pixels: int, cells: int, start: float, length: float) -> list[NDArray[np.intp]]:
    """Return the pixel at each cell's centre, or the two beside it if any lies on a border."""
    centres = start + (np.arange(cells) + 0.5) * (length / cells)
    before = np.ceil(centres - _TOLERANCE).astype(np.intp) - 1
    after = np.floor(centres + _TOLERANCE).astype(np.intp)
    before, after = np.clip(before, 0, pixels - 1), np.clip(after, 0, pixels - 1)
    return [after] if np.array_equal(before, after) else [before, after]


def _voted(corners: NDArray[Any]) -> NDArray[Any]:
    """Choose from the pixels (n, h, w, ...) around each centre; n is 2 or 4."""
    number, height, width = corners.shape[:3]
    with np.errstate(invalid='ignore'):
        alike = corners[:, None] == corners[None]
        if np.issubdtype(corners.dtype, np.floating):
            larger = np.maximum(corners[:, None], corners[None])
            alike |= larger <= EDGE_FACTOR * np.minimum(corners[:, None], corners[None])
    votes = alike.sum(axis=1)
    odd = (np.add.outer(np.arange(height), np.arange(width)) % 2).astype(bool)
    place = np.arange(number)[:, None, None]
    preference = np.where(odd, place, number - 1 - place)
    preference = preference.reshape(preference.shape + (1,) * (corners.ndim - 3))
    chosen = (number * votes + preference).argmax(axis=0)[None]
    if not np.issubdtype(corners.dtype, np.floating):
        return np.asarray(np.take_along_axis(corners, chosen, 0)[0])
    surface = np.take_along_axis(alike, chosen[None], 0)[0]
    total = np.where(surface, corners, 0).sum(axis=0, dtype=corners.dtype)
    with np.errstate(invalid='ignore'):   # no known pixel: 0 / 0 is NaN
        return np.asarray(total / surface.sum(axis=0).astype(corners.dtype))


def _corners_before(pixels: int, cells: int) -> NDArray[np.intp]:
    """Return the border between pixels (0 to `pixels`) before the one nearest to each centre."""
    return np.floor((np.arange(cells) + 0.5) * (pixels / cells) + 0.5).astype(np.intp)


def _one_surface(depth: NDArray[Any]) -> NDArray[np.bool_]:
    """Say of each corner between pixels (h + 1, w + 1, ...) if its four pixels are one surface."""
    padded = np.pad(depth, [(1, 1), (1, 1)] + [(0, 0)] * (depth.ndim - 2), mode='edge')
    pairs = padded[:-1], padded[1:]
    with np.errstate(invalid='ignore', over='ignore'):
        low, high = np.minimum(*pairs), np.maximum(*pairs)
        low = np.minimum(low[:, :-1], low[:, 1:])
        high = np.maximum(high[:, :-1], high[:, 1:])
        return np.asarray((high <= EDGE_FACTOR * low) & np.isfinite(high))
