# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""CameraInfo to a pinhole camera of the image as published: checked once, for node and bags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.errors import UserError

Matrix = NDArray[np.float64]
# Focal lengths in widths (or heights) of the image: opening angles of 169 to 0.6 degrees.
MIN_FOCAL_LENGTH, MAX_FOCAL_LENGTH = 0.05, 100.0
# A larger entry of K, P or R is no camera's, and products with it could overflow.
_MAX_VALUE = 1e9


@dataclass(frozen=True)
class Camera:
    """
    A pinhole camera: image size in pixels, K (3, 3) and P (3, 4) in pixels of that image.

    `pinhole` (3, 3) projects into the image: the left part of P where the image is rectified, K
    where it is not. Distortion and rectification act on normalised coordinates, so they stay as
    they came.
    """

    width: int
    height: int
    pinhole: Matrix
    intrinsics: Matrix
    projection: Matrix
    rectification: Matrix
    distortion_model: str
    distortion: tuple[float, ...]

    def values(self) -> tuple[Any, ...]:
        """Return everything that tells this camera from another, in a form that compares fast."""
        return (self.width, self.height, self.pinhole.tobytes(), self.intrinsics.tobytes(),
                self.projection.tobytes(), self.rectification.tobytes(), self.distortion_model,
                self.distortion)

    def size_problem(self, width: int, height: int) -> str:
        """Return why an image of this size is not this camera's, or nothing where it is."""
        if (self.width, self.height) == (width, height):
            return ''
        return (f'camera_info is for images of {self.width}x{self.height}, the image is '
                f'{width}x{height}')


def is_rectified(topic: str) -> bool:
    """Tell by the name of an image topic: `image_rect`, `image_rect_color/compressed`, ..."""
    return '_rect' in topic.removesuffix('/compressed').rpartition('/')[2]


def read_camera(message: Any, topic: str = '', rectified: str = 'auto') -> Camera:
    """
    Read a sensor_msgs/CameraInfo of ROS 2 or ROS 1 that belongs to the images of `topic`.

    `rectified` is a `Rectified`: `auto` takes P where the topic's name says so or K is empty,
    and K otherwise. Raise `UserError` where it is not a calibrated, plausible camera.
    """
    intrinsics = _matrix(message, 'K').reshape(3, 3)
    projection = _matrix(message, 'P').reshape(3, 4)
    rectification = _matrix(message, 'R').reshape(3, 3)
    distortion = tuple(float(value) for value in _field(message, 'D'))
    if not np.isfinite(distortion).all():
        raise UserError('camera_info: D holds values that are not finite')
    has_k, has_p = (bool(matrix[0, 0] or matrix[1, 1]) for matrix in (intrinsics, projection))
    use_p = rectified == 'true' or (
        rectified == 'auto' and has_p and (is_rectified(topic) or not has_k))
    name, pinhole = ('P', projection[:, :3]) if use_p else ('K', intrinsics)
    if message.width == 0 or message.height == 0:
        raise UserError(f'camera_info: image size {message.width}x{message.height} is empty')
    _check(name, pinhole, message.width, message.height)
    _check_form(name, pinhole, message.width, message.height)
    if not has_p:   # a driver that fills only K
        projection = np.hstack([intrinsics, np.zeros((3, 1))])
    # K and P describe the sensor's full image; region of interest and binning come on top.
    region = message.roi
    if (region.x_offset + (region.width or 1) > message.width
            or region.y_offset + (region.height or 1) > message.height):
        raise UserError(
            f'camera_info: the region of interest, {region.width}x{region.height} pixels at '
            f'({region.x_offset}, {region.y_offset}), is not inside of the image of '
            f"{message.width}x{message.height}; both are in pixels of the sensor's full image, "
            'and a driver that crops K and size itself leaves the region empty')
    binning_x, binning_y = max(1, message.binning_x), max(1, message.binning_y)
    width = (region.width or message.width) // binning_x
    height = (region.height or message.height) // binning_y
    if width == 0 or height == 0:
        raise UserError(f'camera_info: a region of {region.width}x{region.height} with binning '
                        f'{binning_x}x{binning_y} leaves no image')
    to_image = (resize_matrix(1 / binning_x, 1 / binning_y)
                @ shift_matrix(-float(region.x_offset), -float(region.y_offset)))
    pinhole = to_image @ pinhole
    _check(f'{name}, with region of interest and binning,', pinhole, width, height)
    return Camera(width, height, pinhole, to_image @ intrinsics, to_image @ projection,
                  rectification, message.distortion_model, distortion)


def focal_length(pinhole: Matrix) -> float:
    """
    Return the focal length in pixels that depth is scaled by: the mean of both axes.

    It is the geometric mean, so that the area in which an object is seen decides where the
    pixels are not square, as after `fit: squash`.
    """
    return float(np.sqrt(pinhole[0, 0] * pinhole[1, 1]))


def resize_matrix(scale_x: float, scale_y: float) -> Matrix:
    """Return the matrix that resizes pixel coordinates, whose integers are pixel centres."""
    return np.array([[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2],
                     [0, 0, 1]], np.float64)


def shift_matrix(x: float, y: float) -> Matrix:
    """Return the matrix that shifts pixel coordinates."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def _field(message: Any, name: str) -> Any:
    # ROS 1 writes these fields as capitals.
    return getattr(message, name.lower()) if hasattr(message, name.lower()) \
        else getattr(message, name)


def _matrix(message: Any, name: str) -> Matrix:
    values = np.array(_field(message, name), np.float64)
    if not np.isfinite(values).all():
        raise UserError(f'camera_info: {name} holds values that are not finite')
    if np.abs(values).max() > _MAX_VALUE:
        raise UserError(f'camera_info: {name} holds {values[np.abs(values).argmax()]:g}, which no '
                        f'camera has; at most {_MAX_VALUE:g} is accepted')
    return values


def _check_form(name: str, pinhole: Matrix, width: int, height: int) -> None:
    """Refuse a matrix whose values stand elsewhere, or whose camera looks far past the image."""
    if pinhole[1, 0] or not np.allclose(pinhole[2], (0, 0, 1)):
        rows = '; '.join(' '.join(f'{value:g}' for value in row) for row in pinhole)
        raise UserError(f'camera_info: {name} is {rows}; a camera has fx skew cx; 0 fy cy; 0 0 1 '
                        'there, in rows')
    if not (-width <= pinhole[0, 2] <= 2 * width and -height <= pinhole[1, 2] <= 2 * height):
        raise UserError(
            f'camera_info: the principal point in {name}, ({pinhole[0, 2]:g}, {pinhole[1, 2]:g}), '
            f'is far outside of the image of {width}x{height}; at most one width or height '
            'outside is accepted')


def _check(name: str, pinhole: Matrix, width: int, height: int) -> None:
    for axis, pixels, name_of_axis in ((0, width, 'width'), (1, height, 'height')):
        focal = pinhole[axis, axis]
        if focal <= 0:
            raise UserError(f'camera_info: the focal lengths in {name} are {pinhole[0, 0]:g} and '
                            f'{pinhole[1, 1]:g}; a calibrated camera has positive ones')
        if not MIN_FOCAL_LENGTH * pixels <= focal <= MAX_FOCAL_LENGTH * pixels:
            raise UserError(
                f'camera_info: a focal length in {name} is {focal:g} for a {name_of_axis} of '
                f'{pixels} pixels; {MIN_FOCAL_LENGTH * pixels:g} to '
                f'{MAX_FOCAL_LENGTH * pixels:g} is accepted')
