# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of the nearest obstacle against plain NumPy, an integral, and known scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.pairs import make_candidate, make_pair

from deltaworld_ros.bundle import Manifest, SemanticClass, load_bundle
from deltaworld_ros.evaluate.bound_coverage import BoundCoverage, bound_scores
from deltaworld_ros.evaluate.pairs import Candidate, Pair, Truth
from deltaworld_ros.evaluate.scorers.obstacles import ObstacleScorer, crps, energy_score
from deltaworld_ros.evaluate.scorers.scorer import Sums, add

CLASSES = [SemanticClass(name=name, color=(1, 2, 3), role=role) for name, role in (
    ('road', 'traversable'), ('car', 'dynamic'), ('truck', 'dynamic'), ('pedestrian', 'dynamic'),
    ('sky', 'static'))]
FAR = 50.0


def random_futures(seed: int, columns: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values (5, columns) with a tie, weights (5,) and a truth (columns,)."""
    rng = np.random.default_rng(seed)
    values, weights = rng.uniform(0, 50, (5, columns)), rng.dirichlet(np.ones(5))
    values[3] = values[1]
    return values, weights, rng.uniform(0, 60, columns)


def test_crps_is_the_integral_of_the_squared_gap_of_the_distributions() -> None:
    values, weights, truth = random_futures(0)
    grid = np.linspace(-1, 61, 200_001)
    for column, true in enumerate(truth):
        forecast = sum(weight * (grid >= value)
                       for weight, value in zip(weights, values[:, column], strict=True))
        expected = np.trapezoid((forecast - (grid >= true)) ** 2, grid)
        assert crps(values, weights, truth)[column] == pytest.approx(expected, abs=2e-3)


def test_energy_is_the_plain_double_sum() -> None:
    values, weights, truth = random_futures(1)
    rows = range(len(weights))
    miss = sum(weights[k] * np.sqrt(np.mean((values[k] - truth) ** 2)) for k in rows)
    apart = sum(weights[k] * weights[j] * np.sqrt(np.mean((values[k] - values[j]) ** 2))
                for k in rows for j in rows)
    assert energy_score(values, weights, truth) == pytest.approx(miss - apart / 2)
    # In one dimension it is the CRPS.
    one = energy_score(values[:, :1], weights, truth[:1])
    assert one == pytest.approx(crps(values[:, :1], weights, truth[:1])[0])


def test_scores_equal_scoringrules() -> None:
    rules = pytest.importorskip('scoringrules', reason='pip install scoringrules')
    values, weights, truth = random_futures(2)
    expected = rules.crps_ensemble(
        truth, values, m_axis=0, ens_w=np.repeat(weights[:, None], truth.size, 1),
        estimator='nrg')
    np.testing.assert_allclose(crps(values, weights, truth), expected)


def test_a_sure_forecast_scores_its_absolute_error_and_an_honest_spread_less() -> None:
    truth = np.array([20.0])
    sure = crps(np.full((4, 1), 26.0), np.full(4, 0.25), truth)
    spread = crps(np.array([[14.0], [18.0], [22.0], [26.0]]), np.full(4, 0.25), truth)
    assert sure == pytest.approx(6.0) and spread < 4.0


def naive_distance(labels: np.ndarray, depth: np.ndarray) -> np.ndarray:
    nearest = []
    for column in range(labels.shape[1]):
        seen = [depth[row, column] for row in range(labels.shape[0])
                if labels[row, column] in (1, 2, 3) and np.isfinite(depth[row, column])]
        nearest.append(min([*seen, FAR]))
    return np.array(nearest)


def test_errors_of_every_column_equal_plain_loops() -> None:
    scorer, rng, total = ObstacleScorer(CLASSES, FAR), np.random.default_rng(3), Sums()
    pairs = [make_pair(rng, weights=(0.5, 0.3, 0.2)) for _ in range(4)]
    pairs[0].truth.labels[:, 2] = 255                  # nothing is known of this column
    pairs[1].truth.labels[:, 5] = 1                    # an obstacle at an unknown distance
    pairs[1].truth.depth[:, 5] = np.nan
    errors, spread, count = dict.fromkeys(('fused', 'copy_last', 'mean_of_futures'), 0.0), [], 0
    for pair in pairs:
        add(total, scorer.measure(pair))
        truth = naive_distance(pair.truth.labels, pair.truth.depth)
        for column in range(truth.size):
            labels, depth = pair.truth.labels[:, column], pair.truth.depth[:, column]
            hidden = np.isin(labels, (1, 2, 3)) & np.isnan(depth)
            if (labels == 255).all() or (hidden.any() and truth[column] == FAR):
                continue
            count += 1
            for name in errors:
                errors[name] += sum(
                    one.weight * abs(naive_distance(one.labels, one.depth)[column] - truth[column])
                    for one in pair.columns[name])
            values = np.array([naive_distance(one.labels, one.depth)[column]
                               for one in pair.columns['mean_of_futures']])
            spread.append(crps(values[:, None], np.array([0.5, 0.3, 0.2]),
                               truth[column:column + 1])[0])
    scores = scorer.scores(total)
    assert total['fused'][1] == count < 4 * 20
    assert scores['obstacle_error'] == pytest.approx(
        {name: error / count for name, error in errors.items()})
    assert scores['obstacle_crps'] == pytest.approx(np.mean(spread))
    assert scores['obstacle_energy'] > 0


@pytest.fixture(scope='module')
def manifest(tiny_bundle: Path) -> Manifest:
    return load_bundle(tiny_bundle).manifest


def obstacle_pair(distance: float, forecast: float) -> Pair:
    """Make a scene full of vehicles at a distance, forecast at another one."""
    def candidate(metres: float) -> Candidate:
        return Candidate(np.zeros((1, 1), np.float32), np.full((4, 6), 3, np.uint8),
                         np.full((4, 6), metres, np.float32))
    true = candidate(distance)
    return Pair({'fused': [candidate(forecast)]}, np.ones((4, 6), np.float32),
                Truth(true.features, true.labels, true.depth))


def test_a_bound_knows_only_what_had_come(manifest: Manifest) -> None:
    """Forecasts 0.2 s apart for 0.6 s: three are under way when the next one is bounded."""
    coverage, total = BoundCoverage(manifest, (0.6,)), {}
    for number in range(40):
        # From the 20th on every obstacle is at half of its forecast distance.
        pair = obstacle_pair(20.0 if number < 20 else 10.0, 20.0)
        [lead] = coverage.measure(number * 200_000_000, [pair])
        held, columns = lead['bound']['bound'][:2]
        # Ten must have come: that of forecast 9 comes with frame 12.
        assert columns == (6 if number >= 12 else 0)
        if 20 <= number < 23:
            assert held == 0
        elif number >= 23:
            assert held == 6, number
        add(total, lead['bound'])
    scores = bound_scores(total)
    assert scores['forecasts'] == 28 and scores['coverage'] == pytest.approx(25 / 28)
    assert scores['alarm'] > 0 and scores['mean_truth'] == pytest.approx((8 * 20 + 20 * 10) / 28)
    empty = bound_scores({'bound': np.zeros(6)})
    assert np.isnan(empty['coverage']) and empty['forecasts'] == 0


def test_candidates_without_obstacles_are_free() -> None:
    one = make_candidate(np.random.default_rng(0))
    free = ObstacleScorer(CLASSES, FAR).nearest.distances(np.zeros_like(one.labels), one.depth)
    assert (free == FAR).all()
