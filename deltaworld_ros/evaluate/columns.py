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
from deltaworld_ros.evaluate.rolling_on import Farther, roll_on
from deltaworld_ros.evaluate.scorers.features import smooth_l1
from deltaworld_ros.forecast.constant_flow import ConstantFlow
from deltaworld_ros.forecast.ego_motion import EgoMotion, warp_features
from deltaworld_ros.forecast.forecaster import Forecaster

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
    farther: Farther | None = None


@dataclass(frozen=True)
class Movements:
    """How the present frame moves on without a network; None where that is not known."""

    flow: ConstantFlow | None = None
    ego: EgoMotion | None = None


class ColumnMaker:
    """
    Runs a bundle's graphs for the forecast itself and for everything it is compared with.

    `leads` are the bundle's, and with a horizon those after them.
    """

    def __init__(self, engine: Engine, manifest: Manifest, baselines: Baselines | None,
                 leads: tuple[float, ...]) -> None:
        self.leads = leads
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
        farther = roll_on(self._engine, self._manifest, forecaster, tokens,
                          maps['future_features'][:, -1], self.leads)
        features = self._engine.features_to_host(forecaster.features)
        return Sampled(features, weights, plain, maps, timings, farther)

    def heads(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and depth (a,b) that the task heads read from features (N,D)."""
        m = self._manifest
        maps = self._engine.decode(
            self._engine.features_from_host(features),
            np.zeros((1, m.steps, m.token_size), np.float32), np.ones(1, np.float32),
            ('fused_labels', 'fused_depth'), (0,))
        return maps['fused_labels'][0], maps['fused_depth'][0]

    def columns(self, sampled: Sampled, scale: float, moves: Movements,
                oracle: Sequence[Candidate]) -> list[dict[str, list[Candidate]]]:
        """
        Return for each lead the candidates of each column, in the order of COLUMNS.

        `scale` turns the forecast's depth into metres of the camera; `oracle` is what the heads
        make of the true future frames, one a lead. Leads after the bundle's lack the columns of
        the plain samples and of the fitted baselines.
        """
        maps, steps = sampled.maps, self._manifest.steps
        present = Candidate(
            sampled.features, maps['fused_labels'][0], scale * maps['fused_depth'][0])
        plain = self._plain(sampled)
        last = oracle[steps - 1].features
        best_of_k = int(smooth_l1(maps['future_features'][:, -1], last).argmin())
        best_of_20 = int(smooth_l1(
            plain['future_features'][:PLAIN_SAMPLES, -1], last).argmin())
        result = []
        for step, lead in enumerate(self.leads):
            still = self._movements(present, moves, lead)
            if step < steps:
                columns = {
                    'fused': [_fused(maps, step, scale, np.tensordot(
                        sampled.weights, maps['future_features'][:, step], 1))],
                    'mean_of_futures': [_future(maps, index, step, scale, float(weight))
                                        for index, weight in enumerate(sampled.weights)],
                    'best_of_k': [_future(maps, best_of_k, step, scale)],
                    'best_of_20': [_future(plain, best_of_20, step, scale)],
                    'mean_of_20': [_fused(plain, step, scale, plain['future_features'][
                        :PLAIN_SAMPLES, step].mean(0))],
                    **still, **self._fitted(sampled, plain, step, scale)}
            else:
                columns = {**self._farther(sampled, step - steps, scale), **still}
            result.append({**columns, 'oracle': [oracle[step]]})
        return result

    def confidence(self, sampled: Sampled, columns: list[dict[str, list[Candidate]]],
                   ) -> list[np.ndarray]:
        """Return for each lead the share (a,b) of the futures that agree with the fused class."""
        steps = self._manifest.steps
        inside = [sampled.maps['confidence'][step + 1] for step in range(steps)]
        return inside + [
            sum((one.weight * (one.labels == column['fused'][0].labels)
                 for one in column['mean_of_futures']), start=np.zeros(1)).astype(np.float32)
            for column in columns[steps:]]

    def _fitted(self, sampled: Sampled, plain: dict[str, np.ndarray], step: int, scale: float,
                ) -> dict[str, list[Candidate]]:
        """Return the columns of the baselines that were fitted on the bundle's training data."""
        if self._baselines is None:
            return {}
        blurred = blur_features(
            sampled.features, self._baselines.blur[step], self._manifest.feature_rows)
        labels, depth = self.heads(blurred)
        return {'blur': [Candidate(blurred, labels, scale * depth)],
                'mean_token': [_future(plain, PLAIN_SAMPLES, step, scale)]}

    def _farther(self, sampled: Sampled, step: int, scale: float) -> dict[str, list[Candidate]]:
        assert sampled.farther is not None
        far = sampled.farther
        mean = np.tensordot(sampled.weights, far.features[:, step], 1)
        labels, depth = self.heads(mean)
        return {
            'fused': [Candidate(mean, labels, scale * depth)],
            'mean_of_futures': [
                Candidate(far.features[index, step], far.labels[index, step],
                          scale * far.depth[index, step], float(weight))
                for index, weight in enumerate(sampled.weights)]}

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

    def _movements(self, present: Candidate, moves: Movements, lead: float,
                   ) -> dict[str, list[Candidate]]:
        """Return the columns that move the present maps, the first one not at all."""
        m = self._manifest
        columns = {'copy_last': [present]}
        if moves.flow is not None:
            grid = present.features.reshape(m.feature_rows, m.feature_columns, -1)
            columns['constant_flow'] = [Candidate(
                moves.flow.warp(grid, lead, smooth=True).reshape(present.features.shape),
                moves.flow.warp(present.labels, lead), moves.flow.warp(present.depth, lead))]
        if moves.ego is not None:
            labels, depth, displacement = moves.ego.warp(present.labels, lead)
            columns['ego_motion'] = [Candidate(
                warp_features(present.features, m.feature_rows, displacement), labels, depth)]
        return columns


def _future(decoded: dict[str, np.ndarray], index: int, step: int, scale: float,
            weight: float = 1.0) -> Candidate:
    """Return one of the decoded futures."""
    return Candidate(decoded['future_features'][index, step], decoded['labels'][index, step],
                     scale * decoded['depth'][index, step], weight)


def _fused(decoded: dict[str, np.ndarray], step: int, scale: float,
           features: np.ndarray) -> Candidate:
    """Return the fused maps of decoded futures, whose mean features are given."""
    return Candidate(features, decoded['fused_labels'][step + 1],
                     scale * decoded['fused_depth'][step + 1])
