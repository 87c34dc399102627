# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Random forecasts beside a random truth, for tests of the scorers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deltaworld_ros.evaluate.pairs import Candidate, Pair, Truth

SHAPE = (12, 20)


def random_maps(generator: np.random.Generator, shape: Sequence[int], classes: int,
                absent: Sequence[int] = ()) -> np.ndarray:
    """Draw class ids (uint8) without the absent ones."""
    present = [index for index in range(classes) if index not in absent]
    return generator.choice(np.array(present, np.uint8), shape)


def make_candidate(generator: np.random.Generator, weight: float = 1.0) -> Candidate:
    """Draw one forecast; class 3 is rare."""
    labels = random_maps(generator, SHAPE, 5, (3,))
    labels[0, 0] = 3
    return Candidate(generator.normal(size=(6, 4)).astype(np.float32), labels,
                     generator.uniform(2, 60, SHAPE).astype(np.float32), weight)


def make_pair(generator: np.random.Generator, weights: Sequence[float] = (0.6, 0.4),
              like: Pair | None = None, fused: Candidate | None = None) -> Pair:
    """Draw a pair; with `like` its truth and columns but for `fused`."""
    if like is not None and fused is not None:
        alone = Candidate(fused.features, fused.labels, fused.depth)
        return Pair({**like.columns, 'fused': [alone]}, like.confidence, like.truth)
    truth = make_candidate(generator)
    truth.labels[generator.random(SHAPE) < 0.1] = 255
    truth.depth[generator.random(SHAPE) < 0.1] = np.nan
    return Pair(
        {'fused': [make_candidate(generator)], 'copy_last': [make_candidate(generator)],
         'mean_of_futures': [make_candidate(generator, weight) for weight in weights]},
        generator.random(SHAPE).astype(np.float32),
        Truth(truth.features, truth.labels, truth.depth))
