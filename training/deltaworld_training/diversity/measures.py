# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Compare weighted samples with all true futures of their past: coverage, precision, calibration.

Every distance is Euclidean, between features of one lead. A branch of the truth is the mean of
the futures that follow from one hidden decision. A sample belongs to a branch if it

- is nearer to the branch than the present frame is: it tells more than "nothing changes", and
- is nearer to it than to any other by `MARGIN` of what the branch itself would be: it decides.

No fixed radius serves: what all futures of a past share (parallax, texture, noise) separates even
a perfect decision from the truth by more than two branches differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MARGIN = 0.1
BINS = 5


@dataclass(frozen=True)
class PastScore:
    """
    How a set of weighted samples meets the true futures of one past.

    Coverage: the probability of the branches to which some sample belongs. Precision: the weight
    of the samples that belong to a branch. `energy` is the energy distance between samples and
    true futures; `best`, `fused` and `mean` are the expected squared errors of the best sample,
    of the weighted mean and of one sample; `copy_energy` and `copy` those of the present frame.
    `spread` is the samples' variance, `decided` the part of it along the differences of the
    branches, and `open` that part of the truth's variance. `predicted` and `expected` (B,)
    are the branches' probabilities, where every sample counts for its nearest branch.
    """

    coverage: float
    precision: float
    energy: float
    copy_energy: float
    best: float
    fused: float
    mean: float
    copy: float
    spread: float
    decided: float
    open: float
    predicted: np.ndarray
    expected: np.ndarray


def compare(
    samples: np.ndarray, weights: np.ndarray, truth: np.ndarray, probabilities: np.ndarray,
    branches: np.ndarray, present: np.ndarray,
) -> PastScore:
    """
    Score samples (M, N, D) with weights (M,) against true futures (F, N, D) of one past.

    `probabilities` (F,) and `branches` (F,), numbered from 0, belong to the futures; `present`
    (N, D) is the newest frame. Weights and probabilities are normalised here.
    """
    # Divided so that squared distances are mean squared errors.
    scale = np.sqrt(truth[0].size)
    x, y = (part.reshape(len(part), -1).astype(np.float64) / scale for part in (samples, truth))
    now = present.reshape(1, -1).astype(np.float64) / scale
    w, p = weights / weights.sum(), probabilities / probabilities.sum()
    members = branches[None] == np.arange(branches.max() + 1)[:, None]
    expected = members @ p
    middles = (members * p) @ y / expected[:, None]

    to_branch = squared_distances(x, middles)
    nearest = to_branch.argmin(1)
    belongs = _belongs(to_branch, nearest, squared_distances(middles, middles),
                       squared_distances(now, middles)[0])
    covered = np.isin(np.arange(len(expected)), nearest[belongs & (w > 0)])

    errors = squared_distances(x, y)
    mean = w @ x
    axes = _branch_axes(middles, expected)
    return PastScore(
        coverage=float(expected[covered].sum()), precision=float(w[belongs].sum()),
        energy=energy_distance(x, w, y, p), copy_energy=energy_distance(now, np.ones(1), y, p),
        best=float(errors.min(0) @ p), fused=float(squared_distances(mean[None], y)[0] @ p),
        mean=float(w @ errors @ p), copy=float(squared_distances(now, y)[0] @ p),
        spread=_variance(x, w), decided=_variance(x @ axes.T, w),
        open=_variance(y @ axes.T, p),
        predicted=np.bincount(nearest, w, len(expected)), expected=expected)


def pool(scores: Sequence[PastScore]) -> dict[str, Any]:
    """
    Pool the scores of many pasts.

    Errors, spread and energy distance are relative to copy-last's; `decided` is the samples'
    variance along the differences of the branches, relative to the truth's. `brier` is the mean
    squared error of a branch's predicted probability, `calibration_error` the mean gap in bins of
    it (ECE), and `reliability` lists for each bin the number of branches and their mean predicted
    and true probability.
    """
    copy = sum(score.copy for score in scores)
    predicted = np.concatenate([score.predicted for score in scores])
    expected = np.concatenate([score.expected for score in scores])
    rows = reliability(predicted, expected)
    gaps = sum(row['branches'] * abs(row['predicted'] - row['true']) for row in rows)
    return {
        'pasts': len(scores),
        'coverage': float(np.mean([score.coverage for score in scores])),
        'precision': float(np.mean([score.precision for score in scores])),
        'energy_distance': sum(score.energy for score in scores) / sum(
            score.copy_energy for score in scores),
        'best': sum(score.best for score in scores) / copy,
        'fused': sum(score.fused for score in scores) / copy,
        'mean': sum(score.mean for score in scores) / copy,
        'spread': sum(score.spread for score in scores) / copy,
        'decided': sum(score.decided for score in scores) / sum(score.open for score in scores),
        'brier': float(np.square(predicted - expected).mean()),
        'calibration_error': gaps / len(predicted),
        'reliability': rows,
    }


def reliability(predicted: np.ndarray, expected: np.ndarray) -> list[dict[str, float]]:
    """Return for each bin of the predicted probability (n,) its size and both mean values."""
    index = np.minimum((predicted * BINS).astype(int), BINS - 1)
    return [
        {'branches': int((index == place).sum()),
         'predicted': float(predicted[index == place].mean()),
         'true': float(expected[index == place].mean())}
        for place in np.unique(index)]


def energy_distance(
    x: np.ndarray, x_weights: np.ndarray, y: np.ndarray, y_weights: np.ndarray,
) -> float:
    """
    Return 2 E|X-Y| - E|X-X'| - E|Y-Y'| of weighted points (M, d) and (F, d).

    It is 0 only where both are the same distribution (Szekely and Rizzo).
    """
    def expectation(a: np.ndarray, u: np.ndarray, b: np.ndarray, v: np.ndarray) -> float:
        return float(u @ np.sqrt(squared_distances(a, b)) @ v)
    return (2 * expectation(x, x_weights, y, y_weights)
            - expectation(x, x_weights, x, x_weights)
            - expectation(y, y_weights, y, y_weights))


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the squared Euclidean distances (m, n) of points (m, d) and (n, d)."""
    # Row by row: the difference of squared lengths would not be exactly 0 for equal points.
    return np.stack([np.square(b - row).sum(1) for row in a])


def _belongs(
    to_branch: np.ndarray, nearest: np.ndarray, between: np.ndarray, from_present: np.ndarray,
) -> np.ndarray:
    """Tell which samples (M,) belong to their nearest branch; all arguments are squared."""
    own = to_branch.min(1)
    lead = to_branch - own[:, None] - MARGIN * between[nearest]
    lead[np.arange(len(lead)), nearest] = np.inf
    decides: np.ndarray = (lead >= 0).all(1)
    return decides & (own < from_present[nearest])


def _branch_axes(middles: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return orthonormal axes (r, d) that span the differences of the branches."""
    away = middles - expected @ middles
    _, lengths, axes = np.linalg.svd(away, full_matrices=False)
    return np.asarray(axes[lengths > 1e-9 * max(lengths.max(), 1e-30)])


def _variance(points: np.ndarray, weights: np.ndarray) -> float:
    return float(weights @ np.square(points - weights @ points).sum(1))
