# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every column of the result table: what each way of forecasting says about one moment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deltaworld_ros.bundle import Manifest
from deltaworld_ros.engine import Engine
from deltaworld_ros.evaluate.baselines import Baselines, blur_features
from deltaworld_ros.evaluate.metrics import smooth_l1
from deltaworld_ros.forecast.forecaster import Forecaster

# In the order in which they are printed; the meaning of each is in `COLUMN_MEANINGS`.
COLUMN_MEANINGS = {
    'fused': 'the published forecast: heads on the weighted mean of the K futures',
    'mean_of_futures': 'the score that one of the K futures has on average, by weight',
    'best_of_k': 'the best of the K futures (known only afterwards)',
    'best_of_20': "the best of 20 plain samples (known only afterwards; the paper's protocol)",
    'mean_of_20': "heads on the mean of 20 plain samples (the paper's protocol)",
    'copy_last': 'nothing changes: the present frame',
    'blur': "the present frame's features through a fitted 3x3 filter",
    'mean_token': 'the mean change of the training data, whatever is seen',
    'oracle': 'heads on the true future frame: what a perfect forecast would score',
}
COLUMNS = tuple(COLUMN_MEANINGS)
PLAIN_SAMPLES = 20
_PUBLISHED = ('labels', 'depth', 'fused_labels', 'fused_depth', 'confidence')


@dataclass(frozen=True)
class Candidate:
    """One forecast of one lead: features (N,D), labels and depth (a,b), its share of a column."""

    features: np.ndarray
    labels: np.ndarray
    depth: np.ndarray
    weight: float = 1.0


@dataclass(frozen=True)
class Sampled:
    """
    One forecast and what it was made from.

    Features (N,D) of the present frame, tokens (K,S,Dz) and weights (K,) of the futures, 20 plain
    samples (20,S,Dz), the published maps (see `Forecast`), timings in milliseconds.
    """

    features: np.ndarray
    tokens: np.ndarray
    weights: np.ndarray
    plain: np.ndarray
    maps: dict[str, np.ndarray]
    timings: dict[str, float]


class CandidateMaker:
    """Runs a bundle's graphs for the forecast itself and for everything it is compared with."""

    def __init__(self, engine: Engine, manifest: Manifest, baselines: Baselines | None) -> None:
        self._engine = engine
        self._manifest = manifest
        self._baselines = baselines

    def sample(self, forecaster: Forecaster) -> Sampled:
        """Forecast from the newest frame as the node does, and draw the plain samples."""
        tokens, weights, timings = forecaster.sample_futures()
        started = time.perf_counter()
        maps = self._engine.decode(forecaster.features, tokens, weights, _PUBLISHED)
        timings['decode'] = 1e3 * (time.perf_counter() - started)
        plain, _, _ = forecaster.sample_futures(PLAIN_SAMPLES, PLAIN_SAMPLES)
        features = self._engine.features_to_host(forecaster.features)
        return Sampled(features, tokens, weights, plain, maps, timings)

    def heads(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and depth (a,b) that the task heads read from features (N,D)."""
        m = self._manifest
        maps = self._engine.decode(
            self._engine.features_from_host(features),
            np.zeros((1, m.steps, m.token_size), np.float32), np.ones(1, np.float32),
            ('fused_labels', 'fused_depth'))
        return maps['fused_labels'][0], maps['fused_depth'][0]

    def columns(self, sampled: Sampled, truth: Sequence[np.ndarray],
                oracle: Sequence[Candidate]) -> list[dict[str, list[Candidate]]]:
        """
        Return for each lead the candidates of each column, in the order of COLUMNS.

        `truth` are the true future frames' features (N,D), one a lead; `oracle` what the heads
        make of them. A column is one candidate, or several whose weights sum to one.
        """
        futures = len(sampled.tokens)
        tokens = np.concatenate([sampled.tokens, sampled.plain])
        # All weight on the plain samples: the fused maps are then the mean of the 20.
        weights = np.zeros(len(tokens), np.float32)
        weights[futures:] = 1 / len(sampled.plain)
        features = self._engine.features_from_host(sampled.features)
        decoded = self._engine.decode(
            features, tokens, weights,
            ('labels', 'depth', 'fused_labels', 'fused_depth', 'future_features'))
        distance = smooth_l1(decoded['future_features'][:, -1], truth[-1])
        best_of_k = int(distance[:futures].argmin())
        best_of_20 = futures + int(distance[futures:].argmin())
        maps = sampled.maps
        baselines = self._baseline_columns(sampled.features)

        result = []
        for step in range(self._manifest.steps):
            def future(index: int, weight: float = 1.0, step: int = step) -> Candidate:
                return Candidate(decoded['future_features'][index, step],
                                 decoded['labels'][index, step], decoded['depth'][index, step],
                                 weight)

            own = decoded['future_features'][:futures, step]
            result.append({
                'fused': [Candidate(
                    np.tensordot(sampled.weights, own, 1), maps['fused_labels'][step + 1],
                    maps['fused_depth'][step + 1])],
                'mean_of_futures': [future(index, float(weight))
                                    for index, weight in enumerate(sampled.weights)],
                'best_of_k': [future(best_of_k)],
                'best_of_20': [future(best_of_20)],
                'mean_of_20': [Candidate(decoded['future_features'][futures:, step].mean(0),
                                         decoded['fused_labels'][step + 1],
                                         decoded['fused_depth'][step + 1])],
                'copy_last': [Candidate(sampled.features, maps['fused_labels'][0],
                                        maps['fused_depth'][0])],
                **baselines[step],
                'oracle': [oracle[step]],
            })
        return result

    def _baseline_columns(self, features: np.ndarray) -> list[dict[str, list[Candidate]]]:
        """Return for each lead the columns of the fitted baselines, none without them."""
        steps = self._manifest.steps
        if self._baselines is None:
            return [{} for _ in range(steps)]
        still = self._engine.decode(
            self._engine.features_from_host(features),
            np.tile(self._baselines.mean_token, (1, steps, 1)), np.ones(1, np.float32),
            ('labels', 'depth', 'future_features'))
        result = []
        for step in range(steps):
            blurred = blur_features(
                features, self._baselines.blur[step], self._manifest.feature_rows)
            result.append({
                'blur': [Candidate(blurred, *self.heads(blurred))],
                'mean_token': [Candidate(still['future_features'][0, step],
                                         still['labels'][0, step], still['depth'][0, step])],
            })
        return result
