# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth of a camera from depth for the focal length that the bundle was trained for."""

from __future__ import annotations

import math

from deltaworld_ros.bundle import Manifest
from deltaworld_ros.camera.intrinsics import Matrix, focal_length
from deltaworld_ros.errors import UserError


def depth_scale(manifest: Manifest, pinhole: Matrix) -> float:
    """
    Return the factor that turns a forecast's depth into metres of one camera.

    `pinhole` (3, 3) is the camera's matrix in pixels of the graph's input
    (`ImageFit.intrinsics`). Raise `UserError` where its focal length is not a positive number.
    """
    for found in (float(pinhole[0, 0]), float(pinhole[1, 1])):
        if not (math.isfinite(found) and found > 0):
            raise UserError(f'focal length {found}: must be a positive number of pixels')
    return focal_length(pinhole) / manifest.focal_length
