# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Choose a few futures that stand for many: k-medoids over token trajectories."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.errors import UserError

_MOST_ROUNDS = 30
# OpenBLAS computes products of fewer multiplications in the thread that asks.
_SINGLE_THREADED = 2**18


def select_futures(
        tokens: NDArray[np.float32], num_futures: int, dimensions: int, averaged: bool,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    Choose representatives of sampled futures (M, S, Dz) by their leading token dimensions.

    Return the tokens (K, S, Dz) of K different samples and their weights (K,), the share of
    samples that each stands for, by descending weight. `averaged` gives the mean of those samples
    instead, for tokens whose mean decodes to what they have in common. The same tokens always
    give the same choice. Raise `UserError` where there are fewer samples than futures.
    """
    samples = len(tokens)
    check_counts(samples, num_futures)
    if num_futures == samples:
        return tokens, np.full(samples, 1 / samples, np.float32)
    points = tokens[:, :, :dimensions].reshape(samples, -1)
    distances = _squared_distances(points)
    if not np.isfinite(distances).all():
        raise RuntimeError('the rollout gave tokens that are not finite numbers')
    medoids = _greedy_start(distances, num_futures)
    for _ in range(_MOST_ROUNDS):
        better = _most_central(distances, _assign(distances, medoids), medoids)
        if (better == medoids).all():
            break
        medoids = better
    owner = _assign(distances, medoids)
    counts = np.bincount(owner, minlength=num_futures)
    order = np.lexsort((medoids, -counts))
    if averaged:
        chosen = np.stack([tokens[owner == cluster].mean(0) for cluster in order])
    else:
        chosen = tokens[medoids[order]]
    return chosen, (counts[order] / samples).astype(np.float32)


def temper(weights: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return weights (K,) > 0 to the power of 1 / temperature, scaled to the sum 1."""
    if temperature == 1:
        return weights
    logs = np.log(weights, dtype=np.float64) / temperature
    powers = np.exp(logs - logs.max())
    return (powers / powers.sum()).astype(np.float32)


def check_counts(num_samples: int, num_futures: int) -> None:
    """Raise `UserError` where the numbers of samples and futures do not fit together."""
    if not 1 <= num_futures <= num_samples:
        raise UserError(
            f'num_futures {num_futures}: must be from 1 to num_samples ({num_samples})')


def _squared_distances(points: NDArray[np.float32]) -> NDArray[np.float32]:
    # Centred first: the products lose fewer digits.
    points = points - points.mean(0)
    lengths = np.einsum('id,id->i', points, points)[:, None]
    ones = np.ones_like(lengths)
    # One product gives |a|^2 + |b|^2 - 2 ab.
    left = np.concatenate([-2 * points, lengths, ones], axis=1)
    right = np.concatenate([points, ones, lengths], axis=1)
    distances = np.empty((len(points), len(points)), np.float32)
    # In small products: the threads of large ones spin on, and take 50 ms of a core each time.
    rows = max(1, _SINGLE_THREADED // right.size)
    for start in range(0, len(points), rows):
        np.matmul(left[start:start + rows], right.T, out=distances[start:start + rows])
    np.maximum(distances, 0, out=distances)
    np.fill_diagonal(distances, 0)
    return distances


def _greedy_start(distances: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Take the most central sample, then again and again the one that lowers the cost most."""
    chosen = [int(distances.sum(0).argmin())]
    nearest = distances[chosen[0]].copy()
    kept = np.empty_like(distances)
    while len(chosen) < count:
        cost = np.minimum(distances, nearest, out=kept).sum(1)
        cost[chosen] = np.inf  # duplicates gain nothing, but each future is a sample of its own
        chosen.append(int(cost.argmin()))
        np.minimum(nearest, distances[chosen[-1]], out=nearest)
    return np.array(chosen)


def _assign(distances: NDArray[np.float32], medoids: NDArray[np.int64]) -> NDArray[np.int64]:
    owner: NDArray[np.int64] = distances[:, medoids].argmin(1)
    owner[medoids] = np.arange(len(medoids))  # also where another medoid is its duplicate
    return owner


def _most_central(distances: NDArray[np.float32], owner: NDArray[np.int64],
                  medoids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each cluster's member of least total distance; only a better one replaces it."""
    central = medoids.copy()
    for cluster, medoid in enumerate(medoids):
        inside = owner == cluster
        cost = distances[inside].sum(0)
        cost[~inside] = np.inf
        if cost.min() < cost[medoid]:
            central[cluster] = cost.argmin()
    return central
