# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Noise queries cover the normal distribution more evenly than chance, with its moments."""

from pathlib import Path

import numpy as np
import pytest

from deltaworld_ros.bundle import Manifest, load_bundle
from deltaworld_ros.forecast.noise import MOST_DIMENSIONS, even_normal, sample_noise


def gap(points: np.ndarray, where: np.ndarray) -> float:
    """Return the mean squared distance from some places to the nearest point."""
    return float(((where[:, None] - points) ** 2).sum(-1).min(1).mean())


@pytest.mark.parametrize('count', [6, 20, 128])
@pytest.mark.parametrize('size', [2, 4, 12])
def test_points_leave_smaller_gaps_than_chance(count: int, size: int) -> None:
    """At every place that the distribution reaches, some point is nearer."""
    random = np.random.default_rng(count)
    where = random.standard_normal((4000, size))
    even = [gap(even_normal(random, count, size), where) for _ in range(5)]
    chance = [gap(random.standard_normal((count, size)), where) for _ in range(5)]
    assert max(even) < min(chance)


@pytest.mark.parametrize('size', [1, 4, 12, MOST_DIMENSIONS + 1])
def test_points_have_the_moments_of_the_distribution(size: int) -> None:
    points = even_normal(np.random.default_rng(0), 128, size)
    assert points.shape == (128, size) and points.dtype == np.float32
    assert np.isfinite(points).all()
    # What remains at random in 128 points of many dimensions is 1 / sqrt(128).
    np.testing.assert_allclose(points.mean(0), 0.0, atol=0.3)
    assert 0.8 < points.std() < 1.05


def test_each_draw_differs_and_a_seed_repeats_it() -> None:
    first, again = (even_normal(np.random.default_rng(3), 20, 4) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    random = np.random.default_rng(3)
    assert not np.array_equal(even_normal(random, 20, 4), even_normal(random, 20, 4))


@pytest.mark.parametrize('count', [1, 2])
def test_a_few_points_are_fine(count: int) -> None:
    assert np.isfinite(even_normal(np.random.default_rng(0), count, 4)).all()


def test_many_points_are_drawn_one_by_one() -> None:
    """A manifest may ask for 65536: the distances between them would fill 17 GB."""
    points = even_normal(np.random.default_rng(0), 65536, 4)
    plain = np.random.default_rng(0).standard_normal((65536, 4), dtype=np.float32)
    np.testing.assert_array_equal(points, plain)


def test_a_query_is_kept_or_drawn_for_each_step(tiny_bundle: Path) -> None:
    manifest = Manifest(**{
        **vars(load_bundle(tiny_bundle).manifest), 'noise_std': 0.02, 'noise_size': 4})
    random = np.random.default_rng(0)
    kept, fresh = (sample_noise(manifest, way, 64, random) for way in ('kept', 'fresh'))
    assert kept.shape == fresh.shape == (64, manifest.steps, 4)
    assert (kept == kept[:, :1]).all() and not (fresh == fresh[:, :1]).all()
    assert kept.std() == pytest.approx(0.02, rel=0.2)
