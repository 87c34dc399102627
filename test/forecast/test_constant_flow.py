# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The constant-flow forecast on textures that move in a known way."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from deltaworld_ros.forecast.constant_flow import ConstantFlow

SIZE = (96, 160)


def texture(shift: tuple[float, float], zoom: float = 1.0) -> np.ndarray:
    """Return a smooth random texture moved by (x, y) pixels and enlarged about its centre."""
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3)).astype(np.uint8)
    noise = cv2.GaussianBlur(noise, (0, 0), 2)
    noise = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX)
    centre = np.array([SIZE[1] / 2, SIZE[0] / 2])
    matrix = np.array([[1 / zoom, 0, 70], [0, 1 / zoom, 50]])
    matrix[:, 2] += centre - centre / zoom - np.array(shift) / zoom
    return cv2.warpAffine(noise, matrix, SIZE[::-1],
                          flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


@pytest.mark.parametrize('shift', [(3.0, 0.0), (-2.0, 1.5), (0.0, 4.0)])
def test_a_translation_goes_on(shift: tuple[float, float]):
    flow = ConstantFlow(texture((0, 0)), texture(shift), interval=0.1)
    inside = np.s_[20:-20, 20:-20]
    np.testing.assert_allclose(
        np.median(flow.velocity[inside], axis=(0, 1)), np.array(shift) / 0.1, atol=2)
    x, y = np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0]))
    ramp = np.stack([x, y], -1).astype(np.float32)
    moved = flow.warp(ramp, 0.3, smooth=True)
    np.testing.assert_allclose((ramp - moved)[inside].mean((0, 1)), 3 * np.array(shift), atol=0.5)


def test_labels_move_as_a_map_of_another_size():
    flow = ConstantFlow(texture((0, 0)), texture((4, 0)), interval=0.2)
    labels = np.zeros((SIZE[0] // 2, SIZE[1] // 2), np.uint8)
    labels[:, 30:40] = 7
    moved = flow.warp(labels, 0.4)
    # 8 pixels of the frame are 4 cells of the map.
    middle = moved[15:-15]
    assert np.mean(middle[:, 34:44] == 7) > 0.95
    assert np.mean(middle[:, :32] == 0) > 0.95 and np.mean(middle[:, 46:] == 0) > 0.95
    assert moved.dtype == np.uint8 and set(np.unique(moved)) == {0, 7}


def test_an_approach_keeps_growing():
    flow = ConstantFlow(texture((0, 0)), texture((0, 0), 1.05), interval=0.1)
    labels = np.zeros(SIZE, np.uint8)
    labels[36:60, 60:100] = 1
    grown = flow.warp(labels, 0.3)
    # Linear in time: 5 % of a tenth of a second three times over.
    assert grown.sum() / labels.sum() == pytest.approx(1.16 ** 2, rel=0.08)


def test_what_stands_still_stays():
    frame = texture((0, 0))
    flow = ConstantFlow(frame, frame, interval=0.1)
    depth = np.random.default_rng(1).random(SIZE).astype(np.float32)
    depth[0, 0] = np.nan
    np.testing.assert_array_equal(flow.warp(depth, 0.6), depth)


def test_an_interval_of_zero_is_refused():
    with pytest.raises(ValueError, match='interval 0'):
        ConstantFlow(texture((0, 0)), texture((0, 0)), interval=0.0)
