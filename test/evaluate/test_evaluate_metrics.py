# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics against hand-computed and brute-force values."""

import numpy as np
import pytest

from deltaworld_ros.evaluate.metrics import (
    ConfidenceScore,
    DepthScore,
    FeatureScore,
    SegmentationScore,
    mean_squared,
    smooth_l1,
)


def test_miou_by_hand():
    score = SegmentationScore(4)
    truth = np.array([[0, 0, 1, 1], [1, 255, 2, 2]], np.uint8)
    predicted = np.array([[0, 1, 1, 1], [3, 0, 2, 2]], np.uint8)
    score.add(predicted, truth)
    # Class 0: 1 hit of 2, class 1: 2 hits of 3 and one false, class 2: both; 3 is not in truth.
    np.testing.assert_allclose(score.class_iou(), [1 / 2, 2 / 4, 1, np.nan])
    assert score.miou() == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert score.accuracy() == pytest.approx(5 / 7)


def test_miou_pools_over_images_and_equals_brute_force():
    rng = np.random.default_rng(1)
    pairs = [(rng.integers(0, 5, (7, 9)), rng.integers(0, 5, (7, 9))) for _ in range(4)]
    score = SegmentationScore(5)
    for predicted, truth in pairs:
        score.add(predicted.astype(np.uint8), truth.astype(np.uint8))
    expected = []
    for name in range(5):
        both = sum(np.sum((p == name) & (t == name)) for p, t in pairs)
        either = sum(np.sum((p == name) | (t == name)) for p, t in pairs)
        expected.append(both / either)
    np.testing.assert_allclose(score.class_iou(), expected)


def test_a_prediction_that_is_no_class_counts_as_a_miss():
    score = SegmentationScore(2)
    score.add(np.array([[255, 0]], np.uint8), np.array([[0, 0]], np.uint8))
    assert score.class_iou()[0] == pytest.approx(0.5)
    assert score.accuracy() == pytest.approx(0.5)


def test_weights_act_as_repetitions():
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, (4, 5)).astype(np.uint8)
    first, second = (rng.integers(0, 3, (4, 5)).astype(np.uint8) for _ in range(2))
    weighted, repeated = SegmentationScore(3), SegmentationScore(3)
    weighted.add(first, truth, 0.75)
    weighted.add(second, truth, 0.25)
    for guess in (first, first, first, second):
        repeated.add(guess, truth)
    assert weighted.miou() == pytest.approx(repeated.miou())
    near, far = truth + 1.0, truth + 2.0
    depth, depths = DepthScore(0.5, 10), DepthScore(0.5, 10)
    depth.add(far, near, 0.75)
    depth.add(near, near, 0.25)
    for guess in (far, far, far, near):
        depths.add(guess, near)
    assert depth.rmse() == pytest.approx(depths.rmse())
    assert depth.absrel() == pytest.approx(depths.absrel())


def test_depth_by_hand():
    score = DepthScore(1.0, 50.0)
    truth = np.array([[2.0, 10.0, 50.0, 60.0], [np.nan, np.inf, 1.0, 0.0]], np.float32)
    predicted = np.array([[3.0, 10.0, 45.0, 1.0], [1.0, 1.0, 9.0, 9.0]], np.float32)
    score.add(predicted, truth)
    # Valid: 2, 10 and 50 m; errors 1, 0 and 5 m.
    assert score.rmse() == pytest.approx(np.sqrt((1 + 0 + 25) / 3))
    assert score.absrel() == pytest.approx((0.5 + 0 + 0.1) / 3)
    assert score.delta1() == pytest.approx(2 / 3)


def test_nothing_to_score_is_nan_and_not_perfect():
    assert np.isnan(SegmentationScore(3).miou())
    assert np.isnan(SegmentationScore(3).accuracy())
    assert np.isnan(DepthScore(1, 2).rmse())
    assert np.isnan(DepthScore(1, 2).absrel())
    assert np.isnan(FeatureScore().relative())


def test_feature_error_is_a_ratio_of_sums():
    score = FeatureScore()
    score.add(1.0, 2.0)
    score.add(3.0, 10.0)
    assert score.relative() == pytest.approx(4 / 12)


def test_smooth_l1_equals_the_definition():
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(2, 5, 4, 3)) * 0.2
    expected = np.zeros(5)
    for sample in range(5):
        losses = []
        for a, b in zip(first[sample].ravel(), second[sample].ravel(), strict=True):
            gap = abs(a - b)
            losses.append(0.5 * gap * gap / 0.1 if gap < 0.1 else gap - 0.05)
        expected[sample] = np.mean(losses)
    np.testing.assert_allclose(smooth_l1(first, second), expected)
    np.testing.assert_allclose(
        mean_squared(first, second), ((first - second) ** 2).reshape(5, -1).mean(1))


def test_calibration_error_of_confidence():
    score = ConfidenceScore()
    # 80 % confident and right 8 times of 10: perfectly calibrated.
    score.add(np.full((1, 10), 0.8), np.arange(10)[None] < 8)
    assert score.calibration_error() == pytest.approx(0, abs=1e-9)
    # Fully confident and wrong.
    score.add(np.ones((1, 10)), np.zeros((1, 10), bool))
    assert score.calibration_error() == pytest.approx(0.5)
