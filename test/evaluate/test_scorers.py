# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every scorer against torchmetrics, hand-computed values and a few plain lines of NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from support.pairs import make_pair, random_maps

from deltaworld_ros.bundle import SemanticClass
from deltaworld_ros.evaluate.scorers.calibration import CalibrationScorer
from deltaworld_ros.evaluate.scorers.depth import DepthScorer, absrel, delta1, rmse
from deltaworld_ros.evaluate.scorers.features import FeatureScorer, smooth_l1
from deltaworld_ros.evaluate.scorers.scorer import add
from deltaworld_ros.evaluate.scorers.segmentation import (
    SegmentationScorer,
    class_iou,
    confusion,
    counts,
    mean_iou,
    pixel_accuracy,
)
from deltaworld_ros.evaluate.scorers.weights import WeightScorer
from deltaworld_ros.forecast.differences import depth_sums, mean_squared

CLASSES = [SemanticClass(name=name, color=(1, 2, 3), role=role) for name, role in (
    ('road', 'traversable'), ('car', 'dynamic'), ('truck', 'dynamic'), ('pedestrian', 'dynamic'),
    ('sky', 'traversable'))]


def total(scorer, pairs) -> dict:
    sums: dict = {}
    for pair in pairs:
        add(sums, scorer.measure(pair))
    return scorer.scores(sums)


def test_a_class_that_is_forecast_but_never_true_counts_zero():
    truth = np.array([[0, 0, 1, 1], [1, 255, 2, 2]], np.uint8)
    predicted = np.array([[0, 1, 1, 1], [3, 0, 2, 2]], np.uint8)
    one = counts(confusion(predicted, truth, 5))
    # Class 0: 1 hit of 2, class 1: 2 hits of 3 and one false, class 2: both; 3 is never true.
    np.testing.assert_allclose(class_iou(one), [1 / 2, 2 / 4, 1, 0, np.nan])
    assert mean_iou(one) == pytest.approx((0.5 + 0.5 + 1 + 0) / 4)
    assert pixel_accuracy(one) == pytest.approx(5 / 7)


@pytest.mark.parametrize('absent', [(), (2,), (2, 4)])
def test_miou_equals_torchmetrics(absent: tuple[int, ...]):
    torch = pytest.importorskip('torch', reason='torchmetrics needs torch')
    classification = pytest.importorskip('torchmetrics.classification')
    metric = classification.MulticlassJaccardIndex(5, ignore_index=255)
    generator = np.random.default_rng(1)
    sums = np.zeros((3, 5))
    for _ in range(4):
        predicted = random_maps(generator, (9, 11), 5, absent[1:])
        truth = random_maps(generator, (9, 11), 5, absent)
        truth[generator.random(truth.shape) < 0.1] = 255
        sums += counts(confusion(predicted, truth, 5))
        metric.update(torch.from_numpy(predicted).long(), torch.from_numpy(truth).long())
    assert mean_iou(sums) == pytest.approx(float(metric.compute()), abs=1e-6)


def test_segmentation_equals_brute_force():
    generator = np.random.default_rng(2)
    pairs = [make_pair(generator) for _ in range(5)]
    result = total(SegmentationScorer(CLASSES), pairs)
    for column in ('fused', 'copy_last'):
        guess = np.stack([pair.columns[column][0].labels for pair in pairs])
        truth = np.stack([pair.truth.labels for pair in pairs])
        guess, truth = guess[truth != 255], truth[truth != 255]
        iou = {c: np.sum((guess == c) & (truth == c)) / np.sum((guess == c) | (truth == c))
               for c in np.union1d(guess, truth)}
        common = [c for c in iou if np.mean(truth == c) > 0.01]
        assert len(common) < len(iou)
        assert result['miou'][column] == pytest.approx(np.mean(list(iou.values())))
        assert result['miou_common'][column] == pytest.approx(np.mean([iou[c] for c in common]))
        assert result['pixel_accuracy'][column] == pytest.approx(np.mean(guess == truth))
        for name, members in (('vehicle', (1, 2)), ('obstacle', (1, 2, 3))):
            mine, true = np.isin(guess, members), np.isin(truth, members)
            assert result['group_iou'][name][column] == pytest.approx(
                np.sum(mine & true) / np.sum(mine | true))
            assert result['class_iou']['car'][column] == pytest.approx(iou[1])


def test_a_forecast_that_is_no_class_is_a_miss():
    one = counts(confusion(np.array([[255, 0]], np.uint8), np.array([[0, 0]], np.uint8), 2))
    assert class_iou(one)[0] == pytest.approx(0.5)
    assert pixel_accuracy(one) == pytest.approx(0.5)


def test_weights_of_candidates_act_as_repetitions():
    generator = np.random.default_rng(3)
    pair = make_pair(generator, weights=(0.75, 0.25))
    for scorer in (SegmentationScorer(CLASSES), DepthScorer(1.0, 50.0)):
        weighted = scorer.measure(pair)['mean_of_futures']
        heavy, light = pair.columns['mean_of_futures']
        apart = [scorer.measure(make_pair(generator, like=pair, fused=one))['fused']
                 for one in (heavy, light)]
        np.testing.assert_allclose(weighted, 0.75 * apart[0] + 0.25 * apart[1])


def test_depth_by_hand_leaves_out_both_ends_of_the_range():
    truth = np.array([[2.0, 10.0, 50.0, 60.0], [np.nan, np.inf, 1.0, 0.0]], np.float32)
    predicted = np.array([[3.0, 10.0, 45.0, 1.0], [1.0, 1.0, 9.0, 9.0]], np.float32)
    one = depth_sums(predicted, truth, 1.0, 50.0)
    # Valid: 2 and 10 m; errors 1 and 0 m.
    assert rmse(one) == pytest.approx(np.sqrt(1 / 2))
    assert absrel(one) == pytest.approx((0.5 + 0) / 2)
    assert delta1(one) == pytest.approx(1 / 2)


def test_depth_equals_torchmetrics():
    torch = pytest.importorskip('torch', reason='torchmetrics needs torch')
    metrics = pytest.importorskip('torchmetrics')
    generator = np.random.default_rng(4)
    truth, guess = generator.uniform(0, 100, (2, 20, 30)).astype(np.float32)
    valid = (truth > 1e-3) & (truth < 80)
    mine = float(rmse(depth_sums(guess, truth, 1e-3, 80.0)))
    squared = metrics.MeanSquaredError(squared=False)
    assert mine == pytest.approx(float(squared(
        torch.from_numpy(guess[valid]), torch.from_numpy(truth[valid]))), rel=1e-5)
    relative = np.mean(np.abs(guess[valid] - truth[valid]) / truth[valid])
    assert absrel(depth_sums(guess, truth, 1e-3, 80.0)) == pytest.approx(relative, rel=1e-5)


def test_nothing_to_score_is_nan_and_not_perfect():
    assert np.isnan(mean_iou(np.zeros((3, 4)))) and np.isnan(pixel_accuracy(np.zeros((3, 4))))
    assert np.isnan(rmse(np.zeros(4))) and np.isnan(absrel(np.zeros(4)))
    assert np.isnan(FeatureScorer().scores(
        {'fused': np.array(0.0), 'copy_last': np.array(0.0), 'spread': np.array(0.0)}
    )['feature_error']['fused'])


def test_feature_error_is_a_ratio_of_sums():
    generator = np.random.default_rng(5)
    pairs = [make_pair(generator) for _ in range(3)]
    result = total(FeatureScorer(), pairs)
    squared = {column: sum(np.mean((pair.columns[column][0].features - pair.truth.features) ** 2)
                           for pair in pairs) for column in ('fused', 'copy_last')}
    assert result['feature_error']['fused'] == pytest.approx(
        squared['fused'] / squared['copy_last'], rel=1e-5)
    assert result['feature_error']['copy_last'] == 1
    apart = sum(one.weight * np.mean((one.features - pair.columns['fused'][0].features) ** 2)
                for pair in pairs for one in pair.columns['mean_of_futures'])
    assert result['spread'] == pytest.approx(apart / squared['copy_last'], rel=1e-5)


def test_smooth_l1_equals_the_definition():
    generator = np.random.default_rng(6)
    first, second = generator.normal(size=(2, 5, 4, 3)) * 0.2
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


def test_calibration_error_equals_torchmetrics():
    torch = pytest.importorskip('torch', reason='torchmetrics needs torch')
    classification = pytest.importorskip('torchmetrics.classification')
    generator = np.random.default_rng(7)
    pairs = [make_pair(generator) for _ in range(3)]
    result = total(CalibrationScorer(len(CLASSES)), pairs)['confidence_calibration']
    confidence = np.concatenate([p.confidence[p.truth.labels != 255] for p in pairs])
    right = np.concatenate([(p.columns['fused'][0].labels == p.truth.labels)[
        p.truth.labels != 255] for p in pairs])
    # Of two classes, where class 1 is given with this confidence and is right or not.
    metric = classification.BinaryCalibrationError(n_bins=10, norm='l1')
    metric.update(torch.from_numpy(confidence), torch.from_numpy(right).long())
    assert result['error'] == pytest.approx(float(metric.compute()), abs=1e-5)
    assert sum(result['pixels']) == confidence.size
    inside = (confidence >= 0.3) & (confidence < 0.4)
    assert result['accuracy'][3] == pytest.approx(right[inside].mean())
    assert result['confidence'][3] == pytest.approx(confidence[inside].mean(), rel=1e-5)


def test_the_closest_future_is_counted():
    generator = np.random.default_rng(8)
    pairs = [make_pair(generator, weights=(0.5, 0.3, 0.2)) for _ in range(6)]
    result = total(WeightScorer(), pairs)['weights']
    closest = [int(np.argmin([smooth_l1(one.features, pair.truth.features)
                              for one in pair.columns['mean_of_futures']])) for pair in pairs]
    share = [closest.count(place) / 6 for place in range(3)]
    np.testing.assert_allclose(result['best_share'], share)
    np.testing.assert_allclose(result['mean_weight'], [0.5, 0.3, 0.2])
    assert result['calibration_error'] == pytest.approx(
        sum(abs(a - b) for a, b in zip(share, (0.5, 0.3, 0.2), strict=True)) / 2)
    # Bins of a tenth: those of the weights 0.2, 0.3 and 0.5.
    bins = result['reliability']
    filled = {place: bins['futures'][place] for place in range(10) if bins['futures'][place]}
    assert filled == {2: 6, 3: 6, 5: 6}
    assert [bins['best_share'][place] for place in (5, 3, 2)] == pytest.approx(share)
    assert [bins['weight'][place] for place in (5, 3, 2)] == pytest.approx([0.5, 0.3, 0.2])
