# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Diversity measures on constructed pasts whose right scores are known."""

from __future__ import annotations

import numpy as np
import pytest

from deltaworld_training.diversity.measures import (
    PastScore,
    compare,
    energy_distance,
    pool,
    reliability,
)
from deltaworld_training.diversity.tables import diversity_markdown, diversity_table

PATCHES, SIZE = 5, 8
ODDS = np.array([0.5, 0.3, 0.2])


class Past:
    """A present and true futures: three branches, each of two futures that differ a little."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        shape = (PATCHES, SIZE)
        self.present = random.normal(size=shape)
        change = random.normal(size=shape)  # what all futures share
        middles = self.present + change + 0.6 * random.normal(size=(3, *shape))
        self.branches = np.repeat(np.arange(3), 2)
        away = 0.1 * random.normal(size=(3, *shape))
        self.truth = np.stack([middles + away, middles - away], 1).reshape(6, *shape)
        self.middles = middles
        self.probabilities = np.repeat(ODDS, 2) / 2
        self.random = random

    def score(self, samples: np.ndarray, weights: np.ndarray | None = None) -> PastScore:
        weights = np.ones(len(samples)) if weights is None else weights
        return compare(samples, weights, self.truth, self.probabilities, self.branches,
                       self.present)


@pytest.fixture(params=range(5))
def past(request: pytest.FixtureRequest) -> Past:
    return Past(request.param)


def test_the_truth_itself_is_perfect(past: Past):
    score = past.score(past.truth, past.probabilities)
    assert (score.coverage, score.precision) == pytest.approx((1.0, 1.0))
    assert score.energy == pytest.approx(0.0, abs=1e-12)
    assert score.best == pytest.approx(0.0, abs=1e-12)
    assert score.decided == pytest.approx(score.open)
    np.testing.assert_allclose(score.predicted, ODDS)
    np.testing.assert_allclose(score.expected, ODDS)


@pytest.mark.parametrize('branch', [0, 1, 2])
def test_one_right_future_covers_its_branch_alone(past: Past, branch: int):
    score = past.score(np.repeat(past.truth[None, 2 * branch], 20, 0).reshape(
        20, PATCHES, SIZE))
    assert score.coverage == pytest.approx(ODDS[branch])
    assert score.precision == pytest.approx(1.0)
    assert score.energy > 0.05 and score.decided == pytest.approx(0.0, abs=1e-12)
    assert score.predicted[branch] == pytest.approx(1.0)


def test_copy_last_is_close_to_nothing(past: Past):
    score = past.score(past.present[None])
    assert (score.coverage, score.precision) == (0.0, 0.0)
    assert score.energy == pytest.approx(score.copy_energy)
    assert score.mean == score.fused == score.best == pytest.approx(score.copy)


def test_noise_is_close_to_nothing(past: Past):
    noise = past.random.uniform(-6, 6, (500, PATCHES, SIZE))
    score = past.score(noise)
    assert (score.coverage, score.precision) == (0.0, 0.0)
    assert score.energy > score.copy_energy


def test_the_middle_of_two_branches_is_neither():
    """A sampler that blurs two futures decides for none of them, however often it is asked."""
    for seed in range(5):
        past = Past(seed)
        keep = past.branches < 2
        middle = past.middles[:2].mean(0)
        score = compare(np.stack([middle, middle]), np.ones(2), past.truth[keep],
                        past.probabilities[keep], past.branches[keep], past.present)
        assert (score.coverage, score.precision) == (0.0, 0.0)


def test_weights_are_compared_with_the_branches_probabilities(past: Past):
    weights = np.array([0.1, 0.2, 0.7])
    score = past.score(past.middles, weights)
    np.testing.assert_allclose(score.predicted, weights)
    assert score.coverage == pytest.approx(1.0)
    # A sample without weight covers nothing.
    assert past.score(past.middles, np.array([0.0, 1.0, 1.0])).coverage == pytest.approx(0.5)
    result = pool([score])
    assert result['brier'] == pytest.approx(np.mean((weights - ODDS) ** 2))


def test_an_error_that_all_samples_share_hides_no_branch(past: Past):
    """Every decoder blurs: decided samples with one common error still count as such."""
    common = past.random.normal(size=(PATCHES, SIZE))
    directions = (past.middles - past.middles.mean(0)).reshape(3, -1)
    _, _, axes = np.linalg.svd(directions, full_matrices=False)
    flat = common.ravel() - axes[:2].T @ (axes[:2] @ common.ravel())
    flat *= 0.3 / np.sqrt(np.mean(flat ** 2))
    samples = past.middles + flat.reshape(PATCHES, SIZE)
    score = past.score(samples, ODDS)
    assert score.coverage == pytest.approx(1.0) and score.precision == pytest.approx(1.0)
    assert score.decided > 0.9 * score.open
    assert score.energy > 0.01


def test_weights_that_follow_the_truth_calibrate_and_others_do_not():
    pasts = [Past(seed) for seed in range(10, 30)]
    right = pool([past.score(past.middles, ODDS) for past in pasts])
    even = pool([past.score(past.middles) for past in pasts])
    sure = pool([past.score(past.middles[:1]) for past in pasts])
    assert right['calibration_error'] == pytest.approx(0.0, abs=1e-12)
    assert right['brier'] == pytest.approx(0.0)
    assert right['brier'] < even['brier'] < sure['brier']
    assert sure['calibration_error'] == pytest.approx((0.5 + 0.3 + 0.2) / 3)
    assert even['decided'] > 0.9 and sure['decided'] == pytest.approx(0.0, abs=1e-12)


def test_pooled_errors_are_relative_to_copy_last():
    pasts = [Past(seed) for seed in range(3)]
    result = pool([past.score(past.present[None]) for past in pasts])
    for key in ('energy_distance', 'best', 'fused', 'mean'):
        assert result[key] == pytest.approx(1.0)
    assert result['spread'] == 0.0 and result['pasts'] == 3


def test_energy_distance_of_known_points():
    """Between a point at 0 and one at 3 it is twice their distance; a fair coin meets half."""
    one, point = np.ones(1), np.zeros((1, 1))
    assert energy_distance(point, one, point + 3, one) == pytest.approx(6.0)
    coin, half = np.array([[0.0], [3.0]]), np.array([0.5, 0.5])
    assert energy_distance(point, one, coin, half) == pytest.approx(1.5)
    # The same law, drawn twice: small and falling with the number of samples.
    random = np.random.default_rng(0)
    few, many = (
        energy_distance(random.normal(size=(n, 2)), np.full(n, 1 / n),
                        random.normal(size=(n, 2)), np.full(n, 1 / n)) for n in (10, 300))
    assert 0 < many < few


def test_reliability_rows():
    rows = reliability(np.array([0.1, 0.15, 0.9, 1.0]), np.array([0.5, 0.3, 0.5, 0.7]))
    assert [row['branches'] for row in rows] == [2, 2]
    assert rows[0]['predicted'] == pytest.approx(0.125) and rows[0]['true'] == pytest.approx(0.4)
    assert rows[1]['predicted'] == pytest.approx(0.95) and rows[1]['true'] == pytest.approx(0.6)


def test_tables_hold_every_row():
    past = Past(0)
    scores = {name: pool([past.score(samples)]) for name, samples in (
        ('right', past.middles), ('copy_last', past.present[None]))}
    table = diversity_table(scores, 'title')
    assert [str(column.header) for column in table.columns] == ['', *scores]
    assert next(iter(table.columns[1].cells)) == '1.000'
    text = diversity_markdown(scores)
    assert '| right | 1.000 | 1.000 |' in text and '| copy_last | 0.000 | 0.000 | 1.000 |' in text
