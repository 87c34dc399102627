# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Maps to pictures for people: coloured classes, coloured depth, and a mosaic of a forecast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle.semantic_class import SemanticClass
from deltaworld_ros.camera.map_resize import enlarge_map
from deltaworld_ros.forecast.forecaster import Forecast

Picture = NDArray[np.uint8]   # (h, w, 3) RGB
UNKNOWN_COLOR = (40, 40, 40)


def color_labels(labels: NDArray[np.uint8], classes: Sequence[SemanticClass]) -> Picture:
    """Paint class ids (h, w) in their classes' colours; ids without a class are dark grey."""
    palette = np.full((256, 3), UNKNOWN_COLOR, np.uint8)
    palette[:len(classes)] = [entry.color for entry in classes]
    return palette[labels]


def color_depth(depth: NDArray[Any], nearest: float, farthest: float) -> Picture:
    """Paint metres (h, w), near red to far blue by their logarithm; NaN is dark grey."""
    known = np.isfinite(depth)
    metres = np.clip(np.where(known, depth, farthest), nearest, farthest)
    share = np.log(metres / nearest) / np.log(farthest / nearest)
    picture = cv2.applyColorMap((255 * (1 - share)).astype(np.uint8), cv2.COLORMAP_TURBO)
    picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    picture[~known] = UNKNOWN_COLOR
    return np.asarray(picture, np.uint8)


def mosaic(
        tiles: Sequence[tuple[str, Picture]], columns: int, width: int, height: int) -> Picture:
    """Set captioned pictures row by row into one, each tile `width` x `height` pixels."""
    rows = -(-len(tiles) // columns)
    canvas = np.zeros((rows * height, columns * width, 3), np.uint8)
    for number, (caption, picture) in enumerate(tiles):
        row, column = divmod(number, columns)
        tile = np.array(picture) if picture.shape[1::-1] == (width, height) else cv2.resize(
            picture, (width, height), interpolation=cv2.INTER_LINEAR)
        place, font, size = (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38
        cv2.putText(tile, caption, place, font, size, (0, 0, 0), 2, cv2.LINE_AA)
        cv2.putText(tile, caption, place, font, size, (255, 255, 255), 1, cv2.LINE_AA)
        canvas[row * height:(row + 1) * height, column * width:(column + 1) * width] = tile
    return canvas


def forecast_view(
        forecast: Forecast, lead: int, classes: Sequence[SemanticClass],
        depth_range: tuple[float, float], image: Picture, size: tuple[int, int]) -> Picture:
    """
    Show one lead of a `Forecast` (index into its `leads`) with tiles of `size` (width, height).

    First the frame that was forecast from, the fused classes and the fused depth; below them the
    classes of each future, with its weight. Depths are in the range that the bundle can express.
    """
    def labels(ids: NDArray[np.uint8]) -> Picture:
        return color_labels(enlarge_map(ids, size), classes)

    seconds = f'{forecast.leads[lead]:+.3g} s'
    tiles = [
        ('now', image),
        (f'{seconds} fused', labels(forecast.fused_labels[lead])),
        (f'{seconds} depth',
         color_depth(enlarge_map(forecast.fused_depth[lead], size), *depth_range)),
    ]
    if lead > 0 and forecast.labels is not None:
        tiles += [
            (f'{seconds} future {number} ({weight:.0%})',
             labels(forecast.labels[number, lead - 1]))
            for number, weight in enumerate(forecast.weights)]
    return mosaic(tiles, 3, *size)
