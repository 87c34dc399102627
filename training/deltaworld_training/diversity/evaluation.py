# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Measure any model of features against the true futures of many pasts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from deltaworld_training.diversity.futures import TrueFutures
from deltaworld_training.diversity.measures import PastScore, compare, pool


@dataclass(frozen=True)
class PastFeatures:
    """A context: pictures (T, h, w, 3) uint8, features (T, N, D), times (T,) s, the last is 0."""

    images: np.ndarray
    features: np.ndarray
    times: np.ndarray


@dataclass(frozen=True)
class FutureFeatures:
    """The features (F, S, N, D) of a past's true futures with probabilities and branches (F,)."""

    past: PastFeatures
    futures: np.ndarray
    probabilities: np.ndarray
    branches: np.ndarray


# Features of S leads (M, S, N, D) and the samples' weights (M,).
Samples = tuple[np.ndarray, np.ndarray]
Extract = Callable[[np.ndarray], np.ndarray]  # pictures (n, h, w, 3) to features (n, N, D)


def with_features(sets: Iterable[TrueFutures], extract: Extract) -> Iterator[FutureFeatures]:
    """Yield the features of every picture of the sets, one set at a time."""
    for one in sets:
        shape = one.futures.shape
        flat = extract(one.futures.reshape(-1, *shape[2:]))
        past = PastFeatures(one.context, extract(one.context), one.context_times)
        yield FutureFeatures(past, flat.reshape(*shape[:2], *flat.shape[1:]),
                             one.probabilities, one.branches)


def measure(
    sample: Callable[[PastFeatures], Samples], sets: Iterable[FutureFeatures],
) -> dict[str, Any]:
    """Return the pooled scores (`pool`) of a model at the last lead; `sample` draws from it."""
    return pool([score_past(*sample(one.past), one) for one in sets])


def score_past(
    features: np.ndarray, weights: np.ndarray, truth: FutureFeatures,
) -> PastScore:
    """Compare samples (M, S, N, D) of one past with its true futures at the last lead."""
    return compare(features[:, -1], weights, truth.futures[:, -1], truth.probabilities,
                   truth.branches, truth.past.features[-1])


def copy_last(past: PastFeatures) -> Samples:
    """Forecast that nothing changes (one sample, one lead)."""
    return past.features[None, -1:], np.ones(1)
