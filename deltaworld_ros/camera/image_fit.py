# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fit a camera's frames to the graph's input, and its intrinsics with them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from deltaworld_ros.camera.choices import FITS
from deltaworld_ros.errors import UserError


class ImageFit:
    """
    One camera's size fitted to the graph's input size.

    `crop` takes the largest centred region of the target's aspect, `squash` the whole frame.
    `region` is (x, y, width, height) of what is seen, in source pixels.
    """

    def __init__(self, source_width: int, source_height: int,
                 target_width: int, target_height: int, mode: str = 'crop') -> None:
        if mode not in FITS:
            raise UserError(f'fit {mode!r}: must be one of {", ".join(FITS)}')
        if min(source_width, source_height, target_width, target_height) < 1:
            raise UserError(f'image of {source_width}x{source_height} pixels: must not be empty')
        self.source_width, self.source_height = source_width, source_height
        self.target_width, self.target_height = target_width, target_height
        width, height = source_width, source_height
        if mode == 'crop':
            width = min(width, max(1, round(source_height * target_width / target_height)))
            height = min(height, max(1, round(source_width * target_height / target_width)))
        self.region = ((source_width - width) // 2, (source_height - height) // 2, width, height)

    def apply(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the region of an RGB frame at the graph's input size, (h, w, 3) uint8."""
        if rgb.shape != (self.source_height, self.source_width, 3) or rgb.dtype != np.uint8:
            raise UserError(
                f'image of shape {rgb.shape} and type {rgb.dtype}: must be '
                f'({self.source_height}, {self.source_width}, 3) uint8')
        x, y, width, height = self.region
        seen = rgb[y:y + height, x:x + width]
        if (width, height) == (self.target_width, self.target_height):
            return np.ascontiguousarray(seen)
        image: Any = seen
        # Exact halves first: they average the same pixels several times faster than one step.
        while (width >= 2 * self.target_width and height >= 2 * self.target_height
               and width % 2 == 0 and height % 2 == 0):
            width, height = width // 2, height // 2
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        # Up to a factor of two, a linear step still sees every pixel, at a tenth of the cost.
        far = width > 2 * self.target_width or height > 2 * self.target_height
        fitted: NDArray[np.uint8] = cv2.resize(
            image, (self.target_width, self.target_height),
            interpolation=cv2.INTER_AREA if far else cv2.INTER_LINEAR)
        return fitted

    def intrinsics(self, camera_matrix: ArrayLike, width: int | None = None,
                   height: int | None = None) -> NDArray[np.float64]:
        """
        Return the 3x3 camera matrix of the region in pixels of the graph's input.

        `width` and `height` ask for the same region at another size, such as that of the maps.
        Pixel centres are at whole numbers, as in sensor_msgs/CameraInfo. Raise `UserError` where
        the matrix is not finite or its focal lengths are not positive (an uncalibrated camera).
        """
        matrix = np.array(camera_matrix, np.float64)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            raise UserError('camera matrix: must be 3x3 finite numbers')
        if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
            raise UserError('camera matrix: focal lengths must be positive (uncalibrated camera?)')
        x, y, region_width, region_height = self.region
        scale_x = (width or self.target_width) / region_width
        scale_y = (height or self.target_height) / region_height
        matrix[0, :2] *= scale_x
        matrix[1, 1] *= scale_y
        matrix[0, 2] = (matrix[0, 2] - x + 0.5) * scale_x - 0.5
        matrix[1, 2] = (matrix[1, 2] - y + 0.5) * scale_y - 0.5
        return matrix
