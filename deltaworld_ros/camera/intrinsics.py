# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the node needs of a CameraInfo: intrinsics of the image as published, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.errors import UserError

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """
    A pinhole camera: image size in pixels, K (3, 3) and P (3, 4) in pixels of that image.

    Distortion and rectification act on normalised coordinates, so they stay as they came.
    """

    width: int
    height: int
    intrinsics: Matrix
    projection: Matrix
    rectification: Matrix
    distortion_model: str
    distortion: tuple[float, ...]

    def values(self) -> tuple[Any, ...]:
        """Give everything that tells this camera from another, in a form that compares fast."""
        return (self.width, self.height, self.intrinsics.tobytes(), self.projection.tobytes(),
                self.rectification.tobytes(), self.distortion_model, self.distortion)


def read_camera(message: Any) -> Camera:
    """Read a sensor_msgs/CameraInfo; raise `UserError` where it is not a calibrated camera."""
    intrinsics = np.array(message.k, np.float64).reshape(3, 3)
    projection = np.array(message.p, np.float64).reshape(3, 4)
    rectification = np.array(message.r, np.float64).reshape(3, 3)
    distortion = tuple(float(value) for value in message.d)
    for name, values in (('K', intrinsics), ('P', projection), ('R', rectification),
                         ('D', distortion)):
        if not np.isfinite(values).all():
            raise UserError(f'camera_info: {name} holds values that are not finite')
    if intrinsics[0, 0] <= 0 or intrinsics[1, 1] <= 0:
        raise UserError('camera_info: the focal lengths in K are '
                        f'{intrinsics[0, 0]:g} and {intrinsics[1, 1]:g}; a calibrated camera has '
                        'positive ones')
    region = message.roi
    width, height = region.width or message.width, region.height or message.height
    if width == 0 or height == 0:
        raise UserError(f'camera_info: image size {width}x{height} is empty')
    if not projection.any():   # a driver that fills only K
        projection = np.hstack([intrinsics, np.zeros((3, 1))])
    # K and P describe the sensor's full image; region of interest and binning come on top.
    binning_x, binning_y = max(1, message.binning_x), max(1, message.binning_y)
    to_image = (resize_matrix(1 / binning_x, 1 / binning_y)
                @ shift_matrix(-float(region.x_offset), -float(region.y_offset)))
    return Camera(width // binning_x, height // binning_y, to_image @ intrinsics,
                  to_image @ projection, rectification, message.distortion_model, distortion)


def resize_matrix(scale_x: float, scale_y: float) -> Matrix:
    """Give the matrix that resizes pixel coordinates, whose integers are pixel centres."""
    return np.array([[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2],
                     [0, 0, 1]], np.float64)


def shift_matrix(x: float, y: float) -> Matrix:
    """Give the matrix that shifts pixel coordinates."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)
