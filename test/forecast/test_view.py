# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Mosaics for people."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.forecast.forecaster import Forecast
from deltaworld_ros.forecast.view import (
    BAR,
    UNKNOWN_COLOR,
    color_depth,
    color_labels,
    colored_range,
    forecast_view,
)


def test_views_show_every_future(tiny_bundle: Path) -> None:
    classes = load_bundle(tiny_bundle).manifest.classes
    labels = np.array([[0, 1], [3, 255]], np.uint8)
    colours = color_labels(labels, classes)
    assert colours[1, 0].tolist() == [0, 0, 142] and tuple(colours[1, 1]) == UNKNOWN_COLOR
    depth = color_depth(np.array([[2.0, 42.0], [np.nan, 100.0]], np.float32), 2.0, 42.0)
    assert tuple(depth[1, 0]) == UNKNOWN_COLOR and (depth[0, 1] == depth[1, 1]).all()
    assert depth[0, 0, 0] > depth[0, 0, 2] and depth[0, 1, 2] > depth[0, 1, 0]   # red, blue
    maps = np.full((2, 16, 32), 3, np.uint8)
    forecast = Forecast(
        stamp=0.0, leads=(0.0, 0.2), weights=np.array([.6, .3, .1], np.float32),
        fused_labels=maps, fused_depth=np.ones((2, 16, 32), np.float32),
        confidence=np.ones((2, 16, 32), np.float32), labels=np.zeros((3, 1, 16, 32), np.uint8),
        depth=None, context_stamps=(0.0,), timings={})
    image = np.full((16, 32, 3), 200, np.uint8)
    ahead = forecast_view(forecast, 1, classes, (0.5, 40.0), image, (64, 32))
    tile = BAR + 32
    assert ahead.shape == (2 * tile + BAR, 192, 3)       # 3 tiles, then 3 futures, and the legend
    assert ahead[tile + BAR + 28, 60].tolist() == [128, 64, 128]
    assert ahead[BAR + 28, 100].tolist() == [0, 0, 142]
    # Captions stand above pictures and not in them; the legend has the class that is shown.
    assert (ahead[BAR:tile, :64] == 200).all() and (ahead[:BAR, :64].max(axis=2) > 200).any()
    assert (ahead[-BAR:] == (0, 0, 142)).all(axis=2).any()
    assert not (ahead[-BAR:] == (128, 64, 128)).all(axis=2).any()
    now = forecast_view(forecast, 0, classes, (0.5, 40.0), image, (64, 32))
    assert now.shape == (tile + BAR, 192, 3)
    tiny = forecast_view(forecast, 1, classes, (0.5, 40.0), image, (16, 8))
    assert tiny.shape == (2 * (BAR + 8) + BAR, 48, 3)


def test_views_paint_no_depth_in_the_sky() -> None:
    """Its depth is infinite; the smallest depths of a bundle do not take most of the colours."""
    nearest, farthest = colored_range(0.001, 80.0)
    assert (nearest, farthest) == (2.0, 80.0) and colored_range(4.0, 80.0) == (4.0, 80.0)
    depth = color_depth(np.array([[np.inf, 79.0]], np.float32), nearest, farthest)
    assert tuple(depth[0, 0]) == UNKNOWN_COLOR and tuple(depth[0, 1]) != UNKNOWN_COLOR
