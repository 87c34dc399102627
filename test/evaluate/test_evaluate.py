# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The offline evaluation on real bags, against answers that are known or recomputed naively."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.bags import START, write_drive
from support.evaluation import drive, evaluate

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.evaluate.baselines import load_baselines
from deltaworld_ros.evaluate.column_names import COLUMNS
from deltaworld_ros.evaluate.evaluator import Evaluator
from deltaworld_ros.forecast.forecaster import Forecaster

METRICS = ('feature_error', 'miou', 'depth_rmse', 'depth_absrel')


def test_the_result_has_the_documented_form(engine, bundle, tmp_path):
    result = evaluate(engine, bundle, write_drive(tmp_path / 'bag', drive(bundle)))
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result['bundle'] == 'tiny'
    assert result['source'] == str(tmp_path / 'bag')
    assert result['truth'] == 'pseudo'
    # At 10 Hz the fourth link comes with frame 5; the last 6 forecasts have no future to compare.
    assert (result['forecasts'], result['unscored']) == (20 - 5 - 6, 6)
    assert (result['dropped'], result['restarts']) == (0, 0)
    assert 0 < result['latency_ms']['p50'] <= result['latency_ms']['p95']
    assert list(result['leads']) == ['0.2', '0.4', '0.6']
    for scores in result['leads'].values():
        for metric in METRICS:
            assert tuple(scores[metric]) == tuple(
                column for column in COLUMNS if column != 'ego_motion')


def test_nothing_changes(engine, bundle, tmp_path):
    frames = drive(bundle, 1).repeat(20, axis=0)
    result = evaluate(engine, bundle, write_drive(tmp_path / 'bag', frames))
    for scores in result['leads'].values():
        # Copy-last is exact, so no error can be measured relative to it.
        assert set(scores['feature_error'].values()) == {None}
        assert scores['miou']['copy_last'] == scores['miou']['oracle'] == 1.0
        assert scores['depth_rmse']['copy_last'] == scores['depth_absrel']['oracle'] == 0.0
        assert scores['miou']['best_of_20'] < 1.0  # the samples carry noise


def test_a_forecast_of_what_goes_on_beats_copy_last(engine, bundle, tmp_path):
    # The tiny bundle forecasts that a fading picture goes on fading, as this one does.
    result = evaluate(engine, bundle, write_drive(tmp_path / 'bag', drive(bundle, 24)))
    for scores in result['leads'].values():
        error = scores['feature_error']
        assert error['copy_last'] == 1.0
        assert error['oracle'] == 0.0
        assert error['fused'] < 0.6
        assert error['best_of_20'] <= error['mean_of_futures']
        assert scores['depth_absrel']['fused'] < scores['depth_absrel']['copy_last']
        # The expected error of one future is that of their mean plus their variance.
        assert error['mean_of_futures'] == pytest.approx(error['fused'] + scores['spread'])


def test_scores_equal_a_naive_evaluation(engine, bundle, tmp_path):
    """Recompute feature errors, mIoU and depth of several columns in the plainest way."""
    frames = drive(bundle, 16)
    frames[8:] = frames[8:, ::-1]  # something that no forecast expects
    result = evaluate(engine, bundle, write_drive(tmp_path / 'bag', frames, interval=0.2), seed=5)
    m = bundle.manifest
    forecaster = Forecaster(engine, m, seed=5)
    mean_token = load_baselines(bundle).mean_token
    seen, made = [], {}
    for index, frame in enumerate(frames):
        forecaster.observe(frame, START + index * 200_000_000, source='camera')
        now = forecaster.features
        seen.append((engine.features_to_host(now), forecaster.present()))
        if forecaster.ready:
            tokens, weights, _ = forecaster.sample_futures()
            plain, _, _ = forecaster.sample_futures(20, 20)
            outputs = ('labels', 'depth', 'fused_labels', 'fused_depth', 'future_features')
            made[index] = [
                engine.decode(now, futures, shares, outputs) for futures, shares in (
                    (tokens, weights), (plain, np.full(20, 1 / 20, np.float32)),
                    (np.tile(mean_token, (1, m.steps, 1)), np.ones(1, np.float32)))
            ] + [weights]

    sums = dict.fromkeys(('fused', 'best_of_20', 'mean_of_20', 'mean_token', 'copy'), 0.0)
    pairs: dict[str, list] = {'fused': [], 'best_of_20': [], 'copy_last': []}
    depths: dict[str, list] = {'fused': [], 'best_of_20': [], 'copy_last': []}
    count = 0
    for index, (chosen, plain, still, weights) in made.items():
        if index + 3 >= len(frames):
            continue
        count += 1
        (now, present), (truth, came) = seen[index], seen[index + 3]
        last = plain['future_features'][:, 2]
        gap = np.abs(last - truth)
        loss = np.where(gap < 0.1, gap ** 2 / 0.2, gap - 0.05).mean((1, 2))
        best = int(loss.argmin())
        mean = sum(w * f for w, f in zip(weights, chosen['future_features'][:, 2], strict=True))
        sums['fused'] += np.mean((mean - truth) ** 2)
        sums['best_of_20'] += np.mean((last[best] - truth) ** 2)
        sums['mean_of_20'] += np.mean((last.mean(0) - truth) ** 2)
        sums['mean_token'] += np.mean((still['future_features'][0, 2] - truth) ** 2)
        sums['copy'] += np.mean((now - truth) ** 2)
        for name, labels, depth in (
                ('fused', chosen['fused_labels'][3], chosen['fused_depth'][3]),
                ('best_of_20', plain['labels'][best, 2], plain['depth'][best, 2]),
                ('copy_last', present.fused_labels[0], present.fused_depth[0])):
            sky = came.fused_labels[0] == 2
            pairs[name].append((labels, came.fused_labels[0]))
            depths[name].append((depth, np.where(sky, np.nan, came.fused_depth[0])))

    assert result['forecasts'] == count == 16 - 3 - 3
    scores = result['leads']['0.6']
    for name in ('fused', 'best_of_20', 'mean_of_20', 'mean_token'):
        assert scores['feature_error'][name] == pytest.approx(sums[name] / sums['copy'], rel=1e-4)
    for name, maps in pairs.items():
        guess, truth = (np.stack(side) for side in zip(*maps, strict=True))
        iou = [np.sum((guess == c) & (truth == c)) / np.sum((guess == c) | (truth == c))
               for c in np.union1d(guess, truth)]
        assert scores['miou'][name] == pytest.approx(np.mean(iou))
    for name, maps in depths.items():
        guess, truth = (np.stack(side).astype(np.float64) for side in zip(*maps, strict=True))
        valid = (truth > m.depth_minimum) & (truth < m.depth_maximum)
        guess, truth = guess[valid], truth[valid]
        error = guess - truth
        assert scores['depth_rmse'][name] == pytest.approx(np.sqrt(np.mean(error ** 2)))
        assert scores['depth_absrel'][name] == pytest.approx(np.mean(np.abs(error) / truth))


def test_bags_are_pooled(engine, bundle, tmp_path):
    first = write_drive(tmp_path / 'a', drive(bundle, 16), interval=0.2)
    frames = drive(bundle, 16)[:, ::-1]
    second = write_drive(tmp_path / 'b', frames, interval=0.2, storage='sqlite3', compressed=True)
    both = evaluate(engine, bundle, first, second)
    assert both['forecasts'] == 2 * (16 - 6)
    assert [bag['forecasts'] for bag in both['bags']] == [10, 10]
    assert both['source'] == f'{first}, {second}'
    assert both['restarts'] == 0
    apart = [evaluate(engine, bundle, path)['leads']['0.6']['miou']['copy_last']
             for path in (first, second)]
    assert min(apart) <= both['leads']['0.6']['miou']['copy_last'] <= max(apart)


def test_the_same_seed_gives_the_same_scores(engine, bundle, tmp_path):
    path = write_drive(tmp_path / 'bag', drive(bundle, 14), interval=0.2)
    first, second, other = (evaluate(engine, bundle, path, seed=seed)['leads']
                            for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_moments_are_spread_over_the_bag(engine, bundle, tmp_path):
    path = write_drive(tmp_path / 'bag', drive(bundle, 40), interval=0.1)
    evaluator = Evaluator(engine, bundle, moments=4)
    with BagFrames(path) as bag:
        evaluator.run(bag)
    seconds = [moment.seconds for moment in evaluator.moments]
    assert len(seconds) == 4 and np.all(np.diff(seconds) > 0.5)
    moment = evaluator.moments[0]
    m = bundle.manifest
    assert moment.labels.shape == (m.num_futures, m.map_height, m.map_width)
    assert moment.image.shape == (m.image_height, m.image_width, 3)


def test_skill_compares_with_copy_last_and_needs_several_clips(engine, bundle, tmp_path):
    one = write_drive(tmp_path / 'one', drive(bundle, 16), interval=0.2)
    scores = evaluate(engine, bundle, one)['leads']['0.6']
    for error, metric in (('features', 'feature_error'), ('depth', 'depth_absrel')):
        skill = scores['skill'][error]
        assert skill['fused']['value'] == pytest.approx(
            1 - scores[metric]['fused'] / scores[metric]['copy_last'])
        assert skill['fused']['low'] is None and skill['copy_last']['value'] == 0
    wrong = [1 - scores['pixel_accuracy'][column] for column in ('fused', 'copy_last')]
    assert scores['skill']['classes']['fused']['value'] == pytest.approx(1 - wrong[0] / wrong[1])
    paths = [write_drive(tmp_path / f'{turn}', np.roll(drive(bundle, 16), turn, axis=2),
                         interval=0.2) for turn in range(0, 60, 10)]
    several = evaluate(engine, bundle, *paths)
    assert several['clips']['count'] == 6
    skill = several['leads']['0.6']['skill']['depth']['fused']
    assert skill['low'] < skill['value'] < skill['high']
