# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sums by clip: pooled, and drawn again for intervals."""

from __future__ import annotations

import numpy as np
import pytest
from support.pairs import make_pair

from deltaworld_ros.evaluate.scorebook import Clips, measure, pool, scores, skills
from deltaworld_ros.evaluate.scorers.depth import DepthScorer
from deltaworld_ros.evaluate.scorers.features import FeatureScorer

SCORERS = [DepthScorer(1.0, 50.0), FeatureScorer()]


def filled(clips: int, seed: int = 0) -> Clips:
    generator = np.random.default_rng(seed)
    book = Clips()
    for index in range(3 * clips):
        book.add(index // 3, measure(SCORERS, [make_pair(generator), make_pair(generator)]))
    return book


def test_clips_add_up_to_all_forecasts():
    generator = np.random.default_rng(1)
    pairs = [make_pair(generator) for _ in range(9)]
    apart, together = Clips(), Clips()
    for index, pair in enumerate(pairs):
        apart.add(index // 3, measure(SCORERS, [pair]))
        together.add(0, measure(SCORERS, [pair]))
    first, second = (scores(SCORERS, pool(book.sums.values()))[0] for book in (apart, together))
    assert first['depth_absrel'] == pytest.approx(second['depth_absrel'])
    assert first['feature_error'] == pytest.approx(second['feature_error'])


def test_what_some_clips_lack_is_left_out():
    generator = np.random.default_rng(2)
    with_flow = make_pair(generator)
    with_flow.columns['constant_flow'] = with_flow.columns['fused']
    clips = [measure(SCORERS, [pair]) for pair in (with_flow, make_pair(generator))]
    assert 'constant_flow' in pool(clips[:1])[0]['depth']
    assert 'constant_flow' not in pool(clips)[0]['depth']


def test_the_interval_equals_a_plain_bootstrap():
    clips = list(filled(8).sums.values())
    skill = skills(SCORERS, clips, seed=3)[1]['depth']['fused']

    def plain(chosen: np.ndarray) -> float:
        sums = {column: sum(clips[index][1]['depth'][column] for index in chosen)
                for column in ('fused', 'copy_last')}
        error = {column: one[2] / one[0] for column, one in sums.items()}
        return 1 - error['fused'] / error['copy_last']
    generator = np.random.default_rng(4)
    drawn = [plain(generator.integers(0, 8, 8)) for _ in range(4000)]
    assert skill['value'] == pytest.approx(plain(np.arange(8)))
    spread = np.std(drawn)
    assert skill['low'] == pytest.approx(np.percentile(drawn, 2.5), abs=0.3 * spread)
    assert skill['high'] == pytest.approx(np.percentile(drawn, 97.5), abs=0.3 * spread)


def test_few_clips_have_no_interval():
    skill = skills(SCORERS, list(filled(4).sums.values()))[0]['features']['fused']
    assert np.isfinite(skill['value']) and np.isnan(skill['low']) and np.isnan(skill['high'])


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """Skills of endless draws from one world: nine of ten intervals or more must hold it."""
    every = [list(filled(12, seed).sums.values()) for seed in range(40)]
    together = skills(SCORERS, [clip for clips in every for clip in clips])[0]['features']
    truth = together['fused']['value']
    covered = 0
    for clips in every:
        skill = skills(SCORERS, clips)[0]['features']['fused']
        covered += skill['low'] <= truth <= skill['high']
    assert covered >= 32
