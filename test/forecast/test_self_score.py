# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The self-score by construction: known errors, and frames that come or do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deltaworld_ros.bundle import Manifest, load_bundle
from deltaworld_ros.evaluate.pairs import Candidate, Pair, Truth
from deltaworld_ros.evaluate.scorers import make_scorers
from deltaworld_ros.forecast.self_score import METRICS, Maps, SelfScore

EPOCH = 1_700_000_000 * 10**9
SKY = 2
RNG = np.random.default_rng(0)


@pytest.fixture(scope='module')
def manifest(tiny_bundle: Path) -> Manifest:
    return load_bundle(tiny_bundle).manifest


def scene(manifest: Manifest, level: float = 0.0) -> Maps:
    """Make a scene that differs from others by its level alone: features, depth and classes."""
    shape = (manifest.map_height, manifest.map_width)
    labels = np.zeros(shape, np.uint8)
    labels[:round(20 * level)] = 1
    features = np.ones((manifest.num_patches, manifest.feature_size), np.float32)
    return Maps(features + np.float32(level), labels, np.full(shape, 10 + 10 * level, np.float32))


def drive(score: SelfScore, levels: list[Maps], ahead: list[list[Maps]], step: float = 0.2
          ) -> None:
    """Show frames `step` seconds apart, and keep their forecasts where they are due."""
    for number, (now, futures) in enumerate(zip(levels, ahead, strict=True)):
        score.advance(EPOCH + round(number * step * 1e9))
        if score.awaited:
            score.compare(now)
        if score.due:
            score.keep(now, futures)


def test_a_scene_that_stands_still_has_no_skill(manifest: Manifest) -> None:
    score, still = SelfScore(manifest), scene(manifest)
    drive(score, [still] * 30, [[still] * 3] * 30)
    scores = score.scores()
    assert list(scores) == [0.2, 0.4, 0.6]
    for one in scores.values():
        assert one.skill == dict.fromkeys(METRICS, 0.0) == one.error == one.copy_last
        assert one.least_skill == 0 and one.forecasts in (5, 6)
    # Noise of the camera is no change, so a forecast cannot be worse for it.
    noisy = Maps(still.features + np.float32(0.02), still.labels, still.depth * np.float32(1.004))
    score = SelfScore(manifest)
    drive(score, [still] * 10, [[noisy] * 3] * 10)
    assert score.scores()[0.6].least_skill == 0


def test_known_errors_give_known_skill(manifest: Manifest) -> None:
    """The scene moves by 0.1 a stride; the forecast sees half of it coming."""
    levels = [0.1 * number for number in range(12)]
    score = SelfScore(manifest)
    drive(score, [scene(manifest, level) for level in levels],
          [[scene(manifest, level + 0.05 * step) for step in (1, 2, 3)] for level in levels])
    result = score.scores()[0.6]
    assert result.forecasts == 2    # frames 3 and 8, of the forecasts from 0 and 5
    true = np.array([0.3, 0.8])
    assert result.error['features'] == pytest.approx(
        2 * 0.15**2 / np.sum((1 + true) ** 2), rel=1e-5)
    assert result.skill['features'] == pytest.approx(0.75, rel=1e-5)
    assert result.copy_last['depth'] == pytest.approx(np.mean(3 / (10 + 10 * true)), rel=1e-5)
    assert result.skill['depth'] == pytest.approx(0.5, rel=1e-5)
    assert result.copy_last['classes'] == pytest.approx(6 / manifest.map_height)
    assert result.skill['classes'] == pytest.approx(0.5, abs=0.01)
    perfect = SelfScore(manifest)
    drive(perfect, [scene(manifest, level) for level in levels],
          [[scene(manifest, level + 0.1 * step) for step in (1, 2, 3)] for level in levels])
    assert perfect.scores()[0.2].error == dict.fromkeys(METRICS, pytest.approx(0, abs=1e-9))
    assert all(skill > 0.8 for skill in perfect.scores()[0.6].skill.values())
    worse = SelfScore(manifest)
    drive(worse, [scene(manifest, level) for level in levels],
          [[scene(manifest, level - 0.1 * step) for step in (1, 2, 3)] for level in levels])
    assert worse.scores()[0.6].skill['depth'] == pytest.approx(-1, abs=1e-4)


def random_maps(manifest: Manifest) -> Maps:
    shape = (manifest.map_height, manifest.map_width)
    return Maps(
        RNG.standard_normal((manifest.num_patches, manifest.feature_size)).astype(np.float32),
        RNG.integers(0, len(manifest.classes), shape).astype(np.uint8),
        RNG.uniform(0, 60, shape).astype(np.float32))


def test_skill_is_that_of_the_evaluation(manifest: Manifest) -> None:
    forecast, present, truth = (random_maps(manifest) for _ in range(3))
    score = SelfScore(manifest)
    drive(score, [present, truth], [[forecast] * 3] * 2)
    depth = np.where(truth.labels == SKY, np.nan, truth.depth)
    columns = {name: [Candidate(one.features, one.labels, one.depth)]
               for name, one in (('fused', forecast), ('copy_last', present))}
    pair = Pair({**columns, 'mean_of_futures': columns['fused']},
                np.ones(truth.labels.shape, np.float32),
                Truth(truth.features, truth.labels, depth))
    expected = {}
    for scorer in make_scorers(manifest):
        for metric, errors in scorer.errors(scorer.measure(pair)).items():
            expected[metric] = float(1 - errors['fused'] / errors['copy_last'])
    skill = score.scores()[0.2].skill
    assert skill == pytest.approx({metric: expected[metric] for metric in METRICS}, rel=1e-5)


@pytest.mark.parametrize(('offsets', 'compared'), [
    ([0, 200], [200]),                    # exactly at the lead
    ([0, 100, 200, 300], [200]),          # every other frame is at no lead
    ([0, 33, 67, 100, 133, 167, 200, 233], [200]),
    ([0, 70, 140, 210, 280], [210]),      # the nearer one of 140 and 210, before the lead or after
    ([0, 95, 190, 285], [190]),
    ([0, 299], [299]),                    # half a stride off is too far
    ([0, 300], []),
    ([0, 90], []),
])
def test_the_nearest_frame_within_half_a_stride_counts(
        manifest: Manifest, offsets: list[int], compared: list[int]) -> None:
    score, now = SelfScore(manifest), scene(manifest)
    asked = []
    for offset in offsets:
        score.advance(EPOCH + offset * 10**6)
        if score.awaited:
            asked.append(offset)
            score.compare(now)
        if score.due:
            score.keep(now, [now] * 3)
    assert asked == compared
    assert score.scores().get(0.2) is None or score.scores()[0.2].forecasts == len(compared)


def test_a_new_context_gives_up_what_waits_and_the_window_forgets(manifest: Manifest) -> None:
    score, now = SelfScore(manifest), scene(manifest)
    drive(score, [now], [[now] * 3])
    score.forget()
    score.advance(EPOCH + 200 * 10**6)
    assert not score.awaited and not score.due
    drive(score, [now] * 11, [[now] * 3] * 11)
    # One from the frame at 1 s: less than a second before, one was kept and given up.
    assert score.scores()[0.6].forecasts == 1
    score.forget()
    score.advance(EPOCH + 40 * 10**9)
    assert score.scores() == {}
    # Played again from the start.
    drive(score, [now] * 11, [[now] * 3] * 11)
    score.forget()
    score.advance(EPOCH - 10 * 10**9)
    assert score.scores() == {} and score.due
