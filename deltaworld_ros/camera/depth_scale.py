# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth of a camera from depth for the focal length that the bundle was trained for."""

from __future__ import annotations

import math

from deltaworld_ros.bundle import Manifest
from deltaworld_ros.errors import UserError


def depth_scale(manifest: Manifest, fx: float) -> float:
    """
    Give the factor that turns a forecast's depth into metres of one camera.

    `fx` is the camera's focal length in pixels of the graph's input (`ImageFit.intrinsics`).
    Raise `UserError` where it is not a positive number, as for an uncalibrated camera.
    """
    if not (math.isfinite(fx) and fx > 0):
        raise UserError(f'focal length fx {fx}: must be a positive number of pixels')
    return fx / manifest.focal_length
