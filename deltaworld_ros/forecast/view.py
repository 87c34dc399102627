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
BAR = 18                      # pixels of a line of text
_PAPER, _INK = (24, 24, 24), (235, 235, 235)
# Nearer than this share of the farthest depth is as red as can be: the smallest depths that a
# bundle can express would take most of the colours.
_NEAREST_SHARE = 1 / 40
# A class that covers less of the fused map is left out of the legend.
_LEAST_SHARE = 0.002


def color_labels(labels: NDArray[np.uint8], classes: Sequence[SemanticClass]) -> Picture:
    """Paint class ids (h, w) in their classes' colours; ids without a class are dark grey."""
    palette = np.full((256, 3), UNKNOWN_COLOR, np.uint8)
    palette[:len(classes)] = [entry.color for entry in classes]
    return palette[labels]


def color_depth(depth: NDArray[Any], nearest: float, farthest: float) -> Picture:
    """Paint metres (h, w), near red to far blue by logarithm; NaN and infinity are dark grey."""
    known = np.isfinite(depth)
    metres = np.clip(np.where(known, depth, farthest), nearest, farthest)
    share = np.log(metres / nearest) / np.log(farthest / nearest)
    picture = cv2.applyColorMap((255 * (1 - share)).astype(np.uint8), cv2.COLORMAP_TURBO)
    picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    picture[~known] = UNKNOWN_COLOR
    return np.asarray(picture, np.uint8)


def without_sky(
        depth: NDArray[Any], labels: NDArray[np.uint8], classes: Sequence[SemanticClass],
) -> NDArray[Any]:
    """Return depth (h, w) that is infinite where the class is the sky, which has no depth."""
    names = [one.name for one in classes]
    return np.where(labels == names.index('sky'), np.inf, depth) if 'sky' in names else depth


def colored_range(lowest: float, highest: float) -> tuple[float, float]:
    """Return which depths get colours of their own where these can be expressed, in metres."""
    return max(lowest, highest * _NEAREST_SHARE), highest


def mosaic(
        tiles: Sequence[tuple[str, Picture]], columns: int, width: int, height: int) -> Picture:
    """Set pictures row by row into one, each `width` x `height` pixels below its caption."""
    rows = -(-len(tiles) // columns)
    canvas = np.full((rows * (BAR + height), columns * width, 3), _PAPER, np.uint8)
    for number, (caption, picture) in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = row * (BAR + height), column * width
        _write(canvas[top:top + BAR, left:left + width], caption, 4)
        canvas[top + BAR:top + BAR + height, left:left + width] = \
            picture if picture.shape[1::-1] == (width, height) else cv2.resize(
                picture, (width, height), interpolation=cv2.INTER_LINEAR)
    return canvas


def legend(labels: NDArray[np.uint8], classes: Sequence[SemanticClass], width: int) -> Picture:
    """Name the classes that a map (h, w) shows beside their colours, in one line of `width`."""
    line = np.full((BAR, width, 3), _PAPER, np.uint8)
    counts = np.bincount(labels.ravel(), minlength=256)[:len(classes)]
    left = 4
    for one, count in zip(classes, counts, strict=True):
        if count < _LEAST_SHARE * labels.size:
            continue
        line[4:BAR - 4, left:left + 14] = one.color
        left = _write(line, one.name, left + 18) + 10
    return line


def _write(line: Picture, text: str, left: int) -> int:
    """Write into a line of text and return where the text ends."""
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.4
    # putText needs an array of its own where the line is a part of another.
    written = cv2.putText(np.array(line), text, (left, BAR - 5), font, size, _INK, 1, cv2.LINE_AA)
    line[...] = written
    return left + int(cv2.getTextSize(text, font, size, 1)[0][0])


def forecast_view(
        forecast: Forecast, lead: int, classes: Sequence[SemanticClass],
        depth_range: tuple[float, float], image: Picture, size: tuple[int, int]) -> Picture:
    """
    Show one lead of a `Forecast` (index into its `leads`) with tiles of `size` (width, height).

    First the frame that was forecast from, the fused classes and the fused depth; below them the
    classes of each future, with its weight, and the names of the classes. Depths are those of
    `in_metres`, in colours of `colored_range`.
    """
    def labels(ids: NDArray[np.uint8]) -> Picture:
        return color_labels(enlarge_map(ids, size), classes)

    seconds = f'{forecast.leads[lead]:+.3g} s'
    nearest, farthest = depth_range
    fused = forecast.fused_labels[lead]
    tiles = [
        ('now', image),
        (f'{seconds} fused', labels(fused)),
        (f'{seconds} depth, red {nearest:.2g} to blue {farthest:.3g} m',
         color_depth(enlarge_map(forecast.fused_depth[lead], size), nearest, farthest)),
    ]
    if lead > 0 and forecast.labels is not None:
        tiles += [
            (f'{seconds} future {number} ({weight:.0%})',
             labels(forecast.labels[number, lead - 1]))
            for number, weight in enumerate(forecast.weights)]
    picture = mosaic(tiles, 3, *size)
    return np.concatenate([picture, legend(fused, classes, picture.shape[1])])
