# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The offline evaluation on real bags, against answers that are known or recomputed naively."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.bags import START, camera_info_message, image_message, write_bag, write_drive
from support.tiny_bundle import fading_frames, write_tiny_bundle

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bundle import Bundle, load_bundle, write_manifest
from deltaworld_ros.engine import Engine, load_engine
from deltaworld_ros.errors import UserError
from deltaworld_ros.evaluate.baselines import blur_features, load_baselines
from deltaworld_ros.evaluate.columns import COLUMNS
from deltaworld_ros.evaluate.drive import Options
from deltaworld_ros.evaluate.evaluator import Evaluator
from deltaworld_ros.forecast.forecaster import Forecaster

METRICS = ('feature_error', 'miou', 'depth_rmse', 'depth_absrel')


@pytest.fixture(scope='module')
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture(scope='module')
def engine(bundle: Bundle) -> Engine:
    return load_engine(bundle, 'onnxruntime', threads=1)


def evaluate(engine: Engine, bundle: Bundle, *paths: Path, **options) -> dict:
    evaluator = Evaluator(engine, bundle, Options(**options))
    for path in paths:
        with BagFrames(path) as bag:
            evaluator.run(bag)
    return evaluator.result()


def drive(bundle: Bundle, count: int = 20) -> np.ndarray:
    """Return frames that grow brighter for a while, at the bundle's size."""
    return fading_frames(bundle.manifest, count)


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


def test_ground_truth_of_the_bag_is_used(engine, bundle, tmp_path):
    m = bundle.manifest
    frames = drive(bundle, 1).repeat(16, axis=0)
    forecaster = Forecaster(engine, m)
    forecaster.observe(frames[0], 0.0)
    present = forecaster.present()
    # The heads' own labels but for one column of patches; the truth has twice the maps' size.
    true_labels = present.fused_labels[0].copy()
    width = m.map_width // m.feature_columns
    true_labels[:, :width] = (true_labels[:, :width] + 1) % len(m.classes)
    true_depth = np.full((m.image_height, m.image_width), 10.0, np.float32)
    true_depth[:4] = np.nan
    path = write_drive(
        tmp_path / 'bag', frames, focal_length=3.0 * m.focal_length,
        labels=true_labels.repeat(2, 0).repeat(2, 1)[None].repeat(16, 0),
        depth=true_depth[None].repeat(16, 0))
    result = evaluate(engine, bundle, path)
    assert result['truth'] == 'ground_truth'
    assert result['truth_of'] == {'labels': 'ground_truth', 'depth': 'ground_truth'}
    assert result['bags'][0]['depth_scale'] == pytest.approx([3.0, 3.0])

    seen, truth = present.fused_labels[0], true_labels
    iou = [np.sum((seen == c) & (truth == c)) / np.sum((seen == c) | (truth == c))
           for c in np.union1d(seen, truth)]
    metres = 3.0 * present.fused_depth[0][2:].astype(np.float64)
    for scores in result['leads'].values():
        for name in ('copy_last', 'oracle'):
            assert scores['miou'][name] == pytest.approx(np.mean(iou))
            assert scores['depth_absrel'][name] == pytest.approx(np.mean(np.abs(metres - 10) / 10))
            assert scores['depth_rmse'][name] == pytest.approx(
                np.sqrt(np.mean((metres - 10) ** 2)))


def test_a_cropped_camera_and_its_truth_show_the_same_region(engine, bundle, tmp_path):
    m = bundle.manifest
    # Twice the height that is needed: the model sees the middle half.
    frames = np.zeros((16, 2 * m.image_height, m.image_width, 3), np.uint8)
    labels = np.full((16, 2 * m.image_height, m.image_width), 255, np.uint8)
    top = m.image_height // 2
    frames[:, top:top + m.image_height] = drive(bundle, 1)
    forecaster = Forecaster(engine, m)
    forecaster.observe(drive(bundle, 1)[0], 0.0)
    inside = forecaster.present().fused_labels[0].repeat(2, 0).repeat(2, 1)
    labels[:, top:top + m.image_height] = inside
    result = evaluate(engine, bundle, write_drive(tmp_path / 'bag', frames, labels=labels))
    assert result['leads']['0.6']['miou']['oracle'] == 1.0


def test_frames_without_truth_in_a_bag_that_has_it_are_not_scored(engine, bundle, tmp_path):
    m = bundle.manifest
    frames = drive(bundle, 16)
    messages = []
    wrong = np.full((m.map_height, m.map_width), len(m.classes) - 1, np.uint8)
    for index, frame in enumerate(frames):
        stamp = START + index * 200_000_000
        messages.append(('/image', stamp, image_message(stamp, frame)))
        if index == 9:
            messages.append(('/label', stamp, image_message(stamp, wrong, 'mono8')))
    result = evaluate(engine, bundle, write_bag(tmp_path / 'bag', messages))
    assert result['truth_of'] == {'labels': 'ground_truth', 'depth': 'pseudo'}
    scores = result['leads']['0.6']
    # Only the pixels of the one labelled frame count; nothing but vehicles is there.
    assert sum(scores['confidence_calibration']['pixels']) == wrong.size
    assert scores['class_iou']['road']['oracle'] == 0
    assert scores['class_iou']['vehicle']['oracle'] == scores['pixel_accuracy']['oracle'] > 0


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


def test_gaps_and_time_that_goes_back_restart(engine, bundle, tmp_path):
    frames = drive(bundle, 20)
    stamps = [START + i * 200_000_000 for i in range(20)]
    stamps[10:] = [stamp + 3_000_000_000 for stamp in stamps[10:]]
    messages = [('/image', stamp, image_message(stamp, frame))
                for stamp, frame in zip(stamps, frames, strict=True)]
    late = stamps[-1] - 60_000_000_000
    messages.append(('/image', stamps[-1] + 1, image_message(late, frames[0])))
    result = evaluate(engine, bundle, write_bag(tmp_path / 'bag', messages))
    assert result['restart_reasons'] == {'a gap': 1}
    assert result['odd_frames'] == {'stamp before the newest': 1}   # which alone restarts nothing
    # Each part of ten frames has seven forecasts, four of which see their future.
    assert (result['forecasts'], result['unscored']) == (8, 6)


@pytest.mark.parametrize(('change', 'kind'), [
    (lambda stamp: [stamp, stamp], 'repeated stamp'),
    (lambda stamp: [stamp - 125_000_000], 'stamp before the newest'),
    (lambda stamp: [0], 'stamp before the newest'),
])
def test_one_odd_image_in_ten_costs_only_itself(engine, bundle, tmp_path, change, kind):
    messages = []
    for number, frame in enumerate(drive(bundle, 60)):
        stamp = START + number * 100_000_000
        for odd in change(stamp) if number % 10 == 5 else [stamp]:
            messages.append(('/image', stamp + len(messages), image_message(odd, frame)))
    result = evaluate(engine, bundle, write_bag(tmp_path / 'bag', messages))
    assert result['restarts'] == 0 and result['odd_frames'] == {kind: 6}
    # The first five images fill the context, the last six are futures; each odd one is missed
    # by up to four forecasts.
    assert 60 - 11 - 4 * 6 <= result['forecasts'] <= 60 - 11


def test_limits_of_the_work(engine, bundle, tmp_path):
    path = write_drive(tmp_path / 'bag', drive(bundle, 24), interval=0.2)
    assert evaluate(engine, bundle, path, every=3)['forecasts'] == 6
    # From 2 s to 4 s there are eleven images: three fill the context, three are the last futures.
    assert evaluate(engine, bundle, path, start=2.0, end=4.0)['forecasts'] == 5
    with pytest.raises(UserError, match='start 3 s, end 2 s'):
        evaluate(engine, bundle, path, start=3.0, end=2.0)
    assert evaluate(engine, bundle, path, max_forecasts=2)['forecasts'] == 2
    result = evaluate(engine, bundle, path, num_samples=8, num_futures=2)
    assert (result['num_samples'], result['num_futures']) == (8, 2)
    assert len(result['weights']['mean_weight']) == 2
    assert sum(result['weights']['best_share']) == pytest.approx(1)


def test_the_same_seed_gives_the_same_scores(engine, bundle, tmp_path):
    path = write_drive(tmp_path / 'bag', drive(bundle, 14), interval=0.2)
    first, second, other = (evaluate(engine, bundle, path, seed=seed)['leads']
                            for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_a_drive_that_is_too_short_is_one_clear_error(engine, bundle, tmp_path):
    path = write_drive(tmp_path / 'bag', drive(bundle, 5))
    with pytest.raises(UserError, match=r'no forecast could be scored.*at least 1\.2 s'):
        evaluate(engine, bundle, path)


def test_unreadable_images_are_dropped_and_told(engine, bundle, tmp_path):
    frames = drive(bundle, 16)
    messages = [('/image', START + i, image_message(START + i * 200_000_000, frame))
                for i, frame in enumerate(frames)]
    messages[2][2].encoding = 'none'
    with BagFrames(write_bag(tmp_path / 'bag', messages)) as bag:
        evaluator = Evaluator(engine, bundle)
        evaluator.run(bag)
    assert evaluator.result()['dropped'] == 1
    assert any('none' in problem for problem in evaluator.problems)


def test_camera_info_of_another_size_is_not_trusted(engine, bundle, tmp_path):
    frames = drive(bundle, 16)
    messages = []
    for index, frame in enumerate(frames):
        stamp = START + index * 200_000_000
        info = camera_info_message(stamp, 1280, 720, 500.0)
        messages += [('/camera_info', stamp, info), ('/image', stamp, image_message(stamp, frame))]
    with BagFrames(write_bag(tmp_path / 'bag', messages)) as bag:
        evaluator = Evaluator(engine, bundle)
        evaluator.run(bag)
    assert evaluator.result()['bags'][0]['depth_scale'] == [1.0, 1.0]
    assert len(evaluator.problems) == 1 and '1280x720' in evaluator.problems[0]


def test_each_clip_has_its_own_camera(engine, bundle, tmp_path):
    """Two clips of one bag with other focal lengths; the truth says metres, so they must count."""
    m = bundle.manifest
    frame = drive(bundle, 1)[0]
    forecaster = Forecaster(engine, m)
    forecaster.observe(frame, 0.0)
    seen = forecaster.present().fused_depth[0]
    messages = []
    for clip, factor in enumerate((0.5, 2.0)):
        for index in range(12):
            stamp = START + (clip * 10 + index) * 200_000_000 + clip * 5_000_000_000
            info = camera_info_message(
                stamp, m.image_width, m.image_height, factor * m.focal_length)
            # The camera_info comes after its image.
            messages += [('/camera/image', stamp, image_message(stamp, frame)),
                         ('/camera/camera_info', stamp, info),
                         ('/camera/depth', stamp, image_message(stamp, factor * seen, '32FC1'))]
    result = evaluate(engine, bundle, write_bag(tmp_path / 'bag', messages))
    assert result['bags'][0]['depth_scale'] == pytest.approx([0.5, 2.0])
    assert result['forecasts'] == 12
    assert result['leads']['0.6']['depth_absrel']['copy_last'] == pytest.approx(0, abs=1e-6)


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


def test_blur_equals_a_naive_filter():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3 * 4, 2)).astype(np.float32)
    kernels = rng.normal(size=(2, 3, 3)).astype(np.float32)
    grid = features.reshape(3, 4, 2)
    expected = np.zeros_like(grid)
    for row in range(3):
        for column in range(4):
            for y in range(3):
                for x in range(3):
                    source = grid[np.clip(row + y - 1, 0, 2), np.clip(column + x - 1, 0, 3)]
                    expected[row, column] += source * kernels[:, y, x]
    np.testing.assert_allclose(
        blur_features(features, kernels, 3), expected.reshape(12, 2), rtol=1e-4, atol=1e-5)


def test_baselines_of_the_wrong_shape_are_refused(tmp_path):
    folder = write_tiny_bundle(tmp_path / 'bundle')
    manifest = load_bundle(folder).manifest
    for arrays, problem in (
            ({'blur': np.zeros((1, 8, 3, 3)), 'mean_token': np.zeros(12)}, 'have the shapes'),
            ({'blur': np.zeros((3, 8, 3, 3))}, 'lacks mean_token')):
        np.savez(folder / 'baselines.npz', **arrays)
        write_manifest(folder, manifest)   # with the file's new hash
        with pytest.raises(UserError, match=problem):
            load_baselines(load_bundle(folder))


def test_settle_leaves_out_the_first_seconds_of_each_context(engine, bundle, tmp_path):
    path = write_drive(tmp_path / 'bag', drive(bundle))
    # At 10 Hz frame 5 is the first with a context, at 0.5 s; frame 9 is the first after 0.9 s.
    assert evaluate(engine, bundle, path)['forecasts'] == 20 - 5 - 6
    assert evaluate(engine, bundle, path, settle=0.9)['forecasts'] == 20 - 9 - 6
    # The second bag begins a context of its own.
    assert evaluate(engine, bundle, path, path, settle=0.9)['forecasts'] == 2 * (20 - 9 - 6)


def test_a_recording_that_begins_at_stamp_zero(engine, bundle, tmp_path):
    frames = drive(bundle, 24)
    messages = [('/image', 1 + index, image_message(index * 200_000_000, frame))
                for index, frame in enumerate(frames)]
    path = write_bag(tmp_path / 'bag', messages)
    # As in a recording of the present: from 2 s to 4 s five forecasts see their future.
    assert evaluate(engine, bundle, path, start=2.0, end=4.0)['forecasts'] == 5


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


def test_squash_scales_depth_by_both_axes(engine, bundle, tmp_path):
    """A frame twice as high as the bundle's aspect: cut by default, whole with `squash`."""
    m = bundle.manifest
    frames = [np.concatenate([frame, frame]) for frame in drive(bundle, 14)]
    path = write_drive(tmp_path / 'bag', np.stack(frames), interval=0.2,
                       focal_length=m.focal_length)
    for fit, scale in (('crop', 1.0), ('squash', 2 ** -0.5)):
        result = evaluate(engine, bundle, path, fit=fit, max_forecasts=1)
        assert result['bags'][0]['depth_scale'] == pytest.approx([scale, scale])
