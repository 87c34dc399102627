# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A forecast's depth in metres of one camera."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle import Manifest
from deltaworld_ros.forecast.forecaster import Forecast


def in_metres(forecast: Forecast, manifest: Manifest, scale: float) -> Forecast:
    """
    Return the forecast with its depth scaled to the camera (`scale` is `depth_scale`'s).

    Depth is infinite in the sky, which is too far to measure, and NaN where the bundle cannot
    express it (REP 117, REP 118).
    """
    low, high = manifest.depth_minimum, manifest.depth_maximum
    names = [one.name for one in manifest.classes]
    sky = names.index('sky') if 'sky' in names else None

    def metres(depth: NDArray[np.float32], labels: NDArray[np.uint8]) -> NDArray[np.float32]:
        metres = depth * np.float32(scale)
        np.putmask(metres, (depth < low) | (depth > high), np.nan)
        if sky is not None:
            np.putmask(metres, labels == sky, np.inf)
        return metres

    futures = None
    if forecast.labels is not None and forecast.depth is not None:
        futures = metres(forecast.depth, forecast.labels)
    return dataclasses.replace(
        forecast, fused_depth=metres(forecast.fused_depth, forecast.fused_labels), depth=futures)
