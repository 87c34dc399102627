# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What forecasts are compared with: truth of the bag, and its camera."""

from __future__ import annotations

import numpy as np
import pytest
from support.bags import START, camera_info_message, image_message, write_bag, write_drive
from support.evaluation import drive, evaluate

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.evaluate.evaluator import Evaluator
from deltaworld_ros.forecast.forecaster import Forecaster


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


def test_squash_scales_depth_by_both_axes(engine, bundle, tmp_path):
    """A frame twice as high as the bundle's aspect: cut by default, whole with `squash`."""
    m = bundle.manifest
    frames = [np.concatenate([frame, frame]) for frame in drive(bundle, 14)]
    path = write_drive(tmp_path / 'bag', np.stack(frames), interval=0.2,
                       focal_length=m.focal_length)
    for fit, scale in (('crop', 1.0), ('squash', 2 ** -0.5)):
        result = evaluate(engine, bundle, path, fit=fit, max_forecasts=1)
        assert result['bags'][0]['depth_scale'] == pytest.approx([scale, scale])
