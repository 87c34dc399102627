# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Draw noise queries that cover the normal distribution evenly."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle.manifest import Manifest

# In more dimensions a few points cannot be placed better than by chance; many lie close anyway.
MOST_DIMENSIONS = 16
MOST_POINTS = 512
_DRAWN = 1024
_ROUNDS = 20
_SMALL = 1e-6


def sample_noise(
    manifest: Manifest, queries: Literal['fresh', 'kept'], count: int,
    random: np.random.Generator,
) -> NDArray[np.float32]:
    """Draw noise queries (M, S, W) for samples: one a sample, or a fresh one for each step."""
    steps = 1 if queries == 'kept' else manifest.steps
    noise = np.float32(manifest.noise_std) * even_normal(
        random, count, steps * manifest.noise_size).reshape(count, steps, -1)
    return np.repeat(noise, manifest.steps // steps, axis=1)


def even_normal(random: np.random.Generator, count: int, size: int) -> NDArray[np.float32]:
    """
    Return points (count, size) that stand for the standard normal distribution.

    They are its support points (Mak and Joseph, 2018, https://doi.org/10.1214/17-AOS1629): those
    with the least energy distance to it, found from a random start by the fixed-point iteration
    given there. Points drawn one by one leave gaps and lie close together elsewhere. Beyond
    `MOST_DIMENSIONS` or `MOST_POINTS` they are drawn one by one.
    """
    points = random.standard_normal((count, size), dtype=np.float32)
    if size > MOST_DIMENSIONS or count > MOST_POINTS:
        return points
    drawn = random.standard_normal((_DRAWN, size), dtype=np.float32)
    for _ in range(_ROUNDS):
        # Drawn to the distribution, and away from the other points.
        near = 1.0 / _distances(points, drawn)
        away = 1.0 / _distances(points, points)
        np.fill_diagonal(away, 0.0)
        pull = near @ drawn / _DRAWN
        push = (points * away.sum(1, keepdims=True) - away @ points) / count
        points = (pull + push) / near.mean(1, keepdims=True)
    return points


def _distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, _SMALL))
