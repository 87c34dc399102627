# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames and intrinsics fitted to the graph's input agree with each other, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast import ImageFit

SIZES = [(1280, 720), (640, 360), (640, 480), (1920, 1080), (1921, 1081), (320, 192), (200, 100),
         (321, 193), (100, 400), (2000, 120)]


def ramp(width: int, height: int) -> np.ndarray:
    """Return an image whose red grows with x and green with y, 0 to 255 over the frame."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.round(np.linspace(0, 255, width))
    image[..., 1] = np.round(np.linspace(0, 255, height))[:, None]
    return image


@pytest.mark.parametrize('width, height', SIZES)
def test_crop_is_the_largest_centred_region(width: int, height: int) -> None:
    x, y, region_width, region_height = ImageFit(width, height, 320, 192).region
    assert region_width == width or region_height == height
    assert abs(width - region_width - 2 * x) <= 1 and abs(height - region_height - 2 * y) <= 1
    assert region_width / region_height == pytest.approx(320 / 192, rel=1 / min(width, height))


@pytest.mark.parametrize('width, height', SIZES)
@pytest.mark.parametrize('mode', ['crop', 'squash'])
def test_pixels_are_where_the_intrinsics_say(width: int, height: int, mode: str) -> None:
    fit = ImageFit(width, height, 320, 192, mode)
    fitted = fit.apply(ramp(width, height))
    assert fitted.shape == (192, 320, 3) and fitted.dtype == np.uint8
    # A unit camera matrix maps a source pixel to the fitted pixel that shows it.
    matrix = fit.intrinsics(np.eye(3))
    columns = (np.arange(320) - matrix[0, 2]) / matrix[0, 0]
    rows = (np.arange(192) - matrix[1, 2]) / matrix[1, 1]
    red, green = 255 * columns / (width - 1), 255 * rows / (height - 1)
    # A border pixel of an enlarged image shows no more than the border.
    np.testing.assert_allclose(fitted[96, 3:-3, 0], red[3:-3], atol=255 / width + 1.1)
    np.testing.assert_allclose(fitted[3:-3, 160, 1], green[3:-3], atol=255 / height + 1.1)


def test_intrinsics_of_a_known_camera() -> None:
    camera = [[1000.0, 0, 639.5], [0, 1000.0, 359.5], [0, 0, 1]]
    fit = ImageFit(1280, 720, 320, 192)
    assert fit.region == (40, 0, 1200, 720)
    matrix = fit.intrinsics(camera)
    # The centre of the picture stays the centre, whatever the crop and the scale.
    np.testing.assert_allclose(matrix, [[1000 * 320 / 1200, 0, 159.5],
                                        [0, 1000 * 192 / 720, 95.5], [0, 0, 1]])
    maps = fit.intrinsics(camera, width=160, height=96)
    np.testing.assert_allclose(maps[:2, :2], matrix[:2, :2] / 2)
    np.testing.assert_allclose(maps[:2, 2], [79.5, 47.5])
    squashed = ImageFit(1280, 720, 320, 192, 'squash').intrinsics(camera)
    np.testing.assert_allclose(squashed[[0, 1], [0, 1]], [250, 1000 * 192 / 720])


def test_same_size_is_copied_unchanged() -> None:
    image = ramp(320, 192)
    fitted = ImageFit(320, 192, 320, 192).apply(image)
    np.testing.assert_array_equal(fitted, image)
    view = ramp(640, 192)[:, ::2]
    assert ImageFit(320, 192, 320, 192).apply(view).flags.c_contiguous


def test_shrinking_averages() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (720, 1280, 3)).astype(np.uint8)
    # Point sampling would keep the deviation of uniform noise (73.9); averaging removes most.
    assert ImageFit(1280, 720, 320, 192).apply(noise).std() < 25


@pytest.mark.parametrize('image', [
    np.zeros((720, 1280), np.uint8), np.zeros((360, 640, 3), np.uint8),
    np.zeros((720, 1280, 4), np.uint8), np.zeros((720, 1280, 3), np.uint16)])
def test_other_images_are_refused(image: np.ndarray) -> None:
    with pytest.raises(UserError, match=r'must be \(720, 1280, 3\) uint8'):
        ImageFit(1280, 720, 320, 192).apply(image)


@pytest.mark.parametrize('width, height', [(0, 10), (10, 0), (-1, 5)])
def test_empty_images_are_refused(width: int, height: int) -> None:
    with pytest.raises(UserError, match='must not be empty'):
        ImageFit(width, height, 320, 192)


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(UserError, match="fit 'stretch': must be one of crop, squash"):
        ImageFit(1280, 720, 320, 192, 'stretch')


@pytest.mark.parametrize('matrix', [
    np.zeros((3, 3)), np.eye(2), np.full((3, 3), np.nan), np.diag([-1.0, 1, 1]),
    np.diag([1.0, np.inf, 1])])
def test_bad_intrinsics_are_refused(matrix: np.ndarray) -> None:
    with pytest.raises(UserError, match='camera matrix'):
        ImageFit(1280, 720, 320, 192).intrinsics(matrix)
