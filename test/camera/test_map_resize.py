# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Class and depth maps keep their place at every size: ramps, steps, edges, unknown pixels."""

from __future__ import annotations

import numpy as np
import pytest

from deltaworld_ros.camera.map_resize import enlarge_map, reduce_map

# Source and target lengths of an axis: whole, odd, even and broken factors, down and up.
REDUCTIONS = [(48, 24), (48, 16), (48, 12), (48, 6), (50, 20), (54, 20), (97, 31), (40, 39)]
ENLARGEMENTS = [(20, 40), (20, 60), (20, 80), (20, 50), (20, 54), (31, 97), (39, 40), (2, 3)]


def ramp(length: int, rows: int = 6) -> np.ndarray:
    """Depth that names the place of each pixel's centre along the columns, on one surface."""
    return np.tile(1000.0 + np.arange(length) + 0.5, (rows, 1)).astype(np.float32)


def centres(length: int, target: int) -> np.ndarray:
    return 1000.0 + (np.arange(target) + 0.5) * length / target


def turned(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize along rows what the caller measures along columns."""
    return reduce_map(values.T, size[::-1]).T


@pytest.mark.parametrize(('length', 'target'), REDUCTIONS)
def test_a_reduced_ramp_has_the_values_of_the_cells_centres(length: int, target: int) -> None:
    found = reduce_map(ramp(length), (target, 6))
    error = found - centres(length, target)
    assert np.abs(error).max() <= 0.5 + 1e-3
    assert abs(error.mean()) < 0.02
    if length % target == 0:
        assert np.abs(error).max() < 1e-3
    np.testing.assert_array_equal(found, turned(ramp(length), (target, 6)))


@pytest.mark.parametrize(('length', 'target'), [*REDUCTIONS, *ENLARGEMENTS])
def test_steps_between_classes_stay_in_place_on_average(length: int, target: int) -> None:
    """The mean over all places of the step, in source pixels; the old sampling was off by 1.5."""
    errors = []
    for place in range(1, length):
        for first, second in ((0, 7), (7, 0)):
            labels = np.full((8, length), first, np.uint8)
            labels[:, place:] = second
            for found in (enlarge_map(labels, (target, 8)), turned(labels, (target, 8))):
                assert set(np.unique(found)) <= {0, 7}
                errors.append((found == first).mean() * length - place)
    assert abs(np.mean(errors)) < 0.02
    assert np.abs(errors).max() <= max(0.5, length / target / 2) + 1e-6


@pytest.mark.parametrize(('length', 'target'), ENLARGEMENTS[:-1])
def test_an_enlarged_ramp_is_linear_between_centres(length: int, target: int) -> None:
    found = enlarge_map(ramp(length), (target, 6))
    expected = np.clip(centres(length, target), 1000.5, 1000.0 + length - 0.5)
    np.testing.assert_allclose(found, np.tile(expected, (6, 1)), atol=2e-3)


def test_depth_of_two_surfaces_is_never_mixed() -> None:
    depth = np.full((8, 16), 10.0, np.float32)
    depth[:, 7:] = 50.0
    depth[3:, 11:] = np.inf
    for size in ((8, 4), (4, 2), (5, 3), (32, 16), (39, 21)):
        assert set(np.unique(enlarge_map(depth, size))) == {10.0, 50.0, np.inf}


def test_unknown_depth_neither_spreads_nor_votes() -> None:
    depth = np.full((8, 8), 20.0, np.float32)
    depth[:, 1] = np.nan
    depth[4:, :] = np.nan
    reduced = reduce_map(depth, (4, 4))
    assert (reduced[:2] == 20.0).all()
    assert np.isnan(reduced[2:]).all()
    enlarged = enlarge_map(depth, (16, 16))
    np.testing.assert_array_equal(
        np.isnan(enlarged), np.kron(np.isnan(depth), np.ones((2, 2), bool)))
    assert (enlarged[~np.isnan(enlarged)] == 20.0).all()


def test_the_majority_of_the_central_pixels_wins() -> None:
    labels = np.array([[9, 9, 9, 9], [9, 1, 2, 9], [9, 2, 2, 9], [9, 9, 9, 9]], np.uint8)
    assert reduce_map(labels, (1, 1)).tolist() == [[2]]
    assert reduce_map(labels.T[::-1], (1, 1)).tolist() == [[2]]


def test_a_region_is_cut_at_its_own_borders() -> None:
    """A region may begin and end between pixels, as where the truth has its own size."""
    values = ramp(40, rows=10)
    np.testing.assert_allclose(
        reduce_map(values, (8, 5), (4.0, 0.0, 32.0, 10.0)),
        np.tile(1004.0 + (np.arange(8) + 0.5) * 4, (5, 1)))
    error = reduce_map(values, (7, 5), (1.25, 0.0, 33.1, 10.0)) - (
        1001.25 + (np.arange(7) + 0.5) * 33.1 / 7)
    assert np.abs(error).max() <= 0.5 + 1e-3


@pytest.mark.parametrize('channels', [1, 6])
def test_every_channel_of_a_stack_is_resized_alike(channels: int) -> None:
    generator = np.random.default_rng(2)
    depth = generator.uniform(5, 6, (12, 20, channels)).astype(np.float32)
    labels = generator.integers(0, 9, (12, 20, channels)).astype(np.uint8)
    for values in (depth, labels):
        for size in ((40, 24), (33, 19), (10, 6), (20, 12)):
            found = enlarge_map(values, size)
            assert found.dtype == values.dtype
            assert found.shape == (size[1], size[0], channels)
            np.testing.assert_allclose(
                found, np.stack([enlarge_map(np.ascontiguousarray(values[..., k]), size)
                                 for k in range(channels)], axis=-1), rtol=1e-6)
