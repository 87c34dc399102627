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
from deltaworld_ros.evaluate.pairs import Candidate
from deltaworld_ros.evaluate.scorers.features import smooth_l1
from deltaworld_ros.forecast.constant_flow import ConstantFlow
from deltaworld_ros.forecast.forecaster import Forecaster

# The columns by their names in the results, in the order in which they are printed, and what the
# tables call them; a star marks what chooses or sees with the future at hand.
COLUMN_TITLES = {
    'fused': 'published forecast (fused)',
    'mean_of_futures': 'one future, on average',
    'best_of_k': 'best of the K futures *',
    'best_of_20': 'best of 20 plain samples *',
    'mean_of_20': 'mean of 20 plain samples',
    'copy_last': 'copy-last',
    'constant_flow': 'constant flow',
    'blur': 'fitted blur of the last frame',
    'mean_token': 'mean training token',
    'oracle': 'true future frame *',
}
COLUMN_MEANINGS = {
    'fused': 'the published forecast: heads on the weighted mean of the K futures',
    'mean_of_futures': 'the score that one of the K futures has on average, by weight',
    'best_of_k': 'the best of the K futures (known only afterwards)',
    'best_of_20': "the best of 20 plain samples (known only afterwards; the paper's protocol)",
    'mean_of_20': "heads on the mean of 20 plain samples (the paper's protocol)",
    'copy_last': 'nothing changes: the present frame',
    'constant_flow': 'the present maps moved on as the image moves now (optical flow)',
    'blur': "the present frame's features through a fitted 3x3 filter",
    'mean_token': 'the mean change of the training data, whatever is seen',
    'oracle': 'heads on the true future frame: what a perfect forecast would score',
}
COLUMNS = tuple(COLUMN_TITLES)
PLAIN_SAMPLES = 20
_OUTPUTS = ('labels', 'depth', 'fused_labels', 'fused_depth', 'confidence', 'future_features')


@dataclass(frozen=True)
class Sampled:
    """
    One forecast as the engine made it; depth is for the bundle's focal length.

    Features (N,D) of the present frame, weights (K,) of the futures, 20 plain samples' tokens
    (20,S,Dz), the maps of the futures (see `Forecast`) and their features (K,S,N,D), timings in
    milliseconds.
    """

    features: np.ndarray
    weights: np.ndarray
    plain: np.ndarray
    maps: dict[str, np.ndarray]
    timings: dict[str, float]


class ColumnMaker:
    """Runs a bundle's graphs for the forecast itself and for everything it is compared with."""

    def __init__(self, engine: Engine, manifest: Manifest, baselines: Baselines | None) -> None:
        self._engine = engine
        self._manifest = manifest
        self._baselines = baselines

    def sample(self, forecaster: Forecaster) -> Sampled:
        """Forecast from the newest frame as the node does, and draw the plain samples."""
        tokens, weights, timings = forecaster.sample_futures()
        started = time.perf_counter()
        maps = self._engine.decode(forecaster.features, tokens, weights, _OUTPUTS)
        timings['decode'] = 1e3 * (time.perf_counter() - started)
        plain, _, _ = forecaster.sample_futures(PLAIN_SAMPLES, PLAIN_SAMPLES)
        features = self._engine.features_to_host(forecaster.features)
        return Sampled(features, weights, plain, maps, timings)

    def heads(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and depth (a,b) that the task heads read from features (N,D)."""
        m = self._manifest
        maps = self._engine.decode(
            self._engine.features_from_host(features),
            np.zeros((1, m.steps, m.token_size), np.float32), np.ones(1, np.float32),
            ('fused_labels', 'fused_depth'), (0,))
        return maps['fused_labels'][0], maps['fused_depth'][0]

    def columns(self, sampled: Sampled, scale: float, flow: ConstantFlow | None,
                oracle: Sequence[Candidate]) -> list[dict[str, list[Candidate]]]:
        """
        Return for each lead the candidates of each column, in the order of COLUMNS.

        `scale` turns the forecast's depth into metres of the camera, `flow` is the motion of the
        present frame, `oracle` what the heads make of the true future frames, one a lead.
        """
        maps, weights = sampled.maps, sampled.weights
        own = maps['future_features']
        plain = self._plain(sampled)
        best_of_k = int(smooth_l1(own[:, -1], oracle[-1].features).argmin())
        plain_features = plain['future_features'][:PLAIN_SAMPLES]
        best_of_20 = int(smooth_l1(plain_features[:, -1], oracle[-1].features).argmin())
        present = Candidate(
            sampled.features, maps['fused_labels'][0], scale * maps['fused_depth'][0])

        result = []
        for step in range(self._manifest.steps):
            def future(decoded: dict[str, np.ndarray], index: int, weight: float = 1.0,
                       step: int = step) -> Candidate:
                return Candidate(
                    decoded['future_features'][index, step], decoded['labels'][index, step],
                    scale * decoded['depth'][index, step], weight)

            def fused(decoded: dict[str, np.ndarray], features: np.ndarray,
                      step: int = step) -> Candidate:
                return Candidate(features, decoded['fused_labels'][step + 1],
                                 scale * decoded['fused_depth'][step + 1])

            columns = {
                'fused': [fused(maps, np.tensordot(weights, own[:, step], 1))],
                'mean_of_futures': [future(maps, index, float(weight))
                                    for index, weight in enumerate(weights)],
                'best_of_k': [future(maps, best_of_k)],
                'best_of_20': [future(plain, best_of_20)],
                'mean_of_20': [fused(plain, plain_features[:, step].mean(0))],
                'copy_last': [present],
            }
            if flow is not None:
                columns['constant_flow'] = [
                    self._moved(present, flow, self._manifest.leads[step])]
            if self._baselines is not None:
                blurred = blur_features(sampled.features, self._baselines.blur[step],
                                        self._manifest.feature_rows)
                labels, depth = self.heads(blurred)
                columns['blur'] = [Candidate(blurred, labels, scale * depth)]
                columns['mean_token'] = [future(plain, PLAIN_SAMPLES)]
            columns['oracle'] = [oracle[step]]
            result.append(columns)
        return result

    def _plain(self, sampled: Sampled) -> dict[str, np.ndarray]:
        """Decode the plain samples, fused with equal weights, and last the mean token."""
        tokens, steps = sampled.plain, self._manifest.steps
        weights = np.full(len(tokens), 1 / len(tokens), np.float32)
        if self._baselines is not None:
            still = np.tile(self._baselines.mean_token, (1, steps, 1))
            tokens = np.concatenate([tokens, still.astype(np.float32)])
            weights = np.append(weights, np.float32(0))
        return self._engine.decode(
            self._engine.features_from_host(sampled.features), tokens, weights,
            ('labels', 'depth', 'fused_labels', 'fused_depth', 'future_features'))

    def _moved(self, present: Candidate, flow: ConstantFlow, lead: float) -> Candidate:
        m = self._manifest
        grid = present.features.reshape(m.feature_rows, m.feature_columns, -1)
        return Candidate(flow.warp(grid, lead, smooth=True).reshape(present.features.shape),
                         flow.warp(present.labels, lead), flow.warp(present.depth, lead))
