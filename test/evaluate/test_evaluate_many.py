# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Many recordings at once, longer horizons, and what is written for each forecast."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress
from support.bags import (
    START,
    STORE,
    camera_info_message,
    header,
    image_message,
    write_bag,
    write_drive,
)
from support.tiny_bundle import fading_frames, write_tiny_bundle

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bags.odometry import read_odometry
from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.engine import load_engine
from deltaworld_ros.errors import UserError
from deltaworld_ros.evaluate.bag_list import list_bags
from deltaworld_ros.evaluate.bag_run import score_bags
from deltaworld_ros.evaluate.drive import Options
from deltaworld_ros.evaluate.evaluator import Evaluator
from deltaworld_ros.evaluate.limits import broken_limits, read_limits
from deltaworld_ros.evaluate.output import write_lines
from deltaworld_ros.evaluate.results import pooled_result
from deltaworld_ros.evaluate.worker import WorkerSetup

OPTIONS = Options(num_samples=8, num_futures=3)


@pytest.fixture(scope='module')
def bags(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp('bags')
    frames = fading_frames(load_bundle(tiny_bundle).manifest, 12)
    return [str(write_drive(folder / name, np.roll(frames, shift, axis=2), interval=0.2,
                            focal_length=64.0)) for name, shift in (('a', 0), ('b', 9), ('c', 30))]


def result_of(bundle: Path, bags: list[str], **how) -> dict:
    setup = WorkerSetup(str(bundle), 'onnxruntime', 1, options=OPTIONS)
    with Progress(disable=True) as bar:
        scores = score_bags(setup, bags, bar, log=lambda line: None, **how)
    result = pooled_result(load_bundle(bundle).manifest, OPTIONS, scores)
    for timing in ('latency_ms', 'profile_s'):
        del result[timing]
    return result


def test_processes_give_what_one_process_gives(tiny_bundle, bags):
    alone = result_of(tiny_bundle, bags, jobs=1)
    assert result_of(tiny_bundle, bags, jobs=2) == alone
    assert [Path(bag['path']).name for bag in alone['bags']] == ['a', 'b', 'c']
    apart = [result_of(tiny_bundle, [bag], jobs=1)['leads']['0.6']['miou'] for bag in bags]
    assert [bag['leads']['0.6']['miou'] for bag in alone['bags']] == apart


@pytest.mark.timeout(200)
def test_ray_gives_what_one_process_gives(tiny_bundle, bags):
    pytest.importorskip('ray', reason='Ray is optional; the processes are tested above')
    assert result_of(tiny_bundle, bags[:2], ray='local') == result_of(
        tiny_bundle, bags[:2], jobs=1)


def test_a_bag_that_cannot_be_read_leaves_the_others_their_scores(tiny_bundle, bags, tmp_path):
    (tmp_path / 'broken.mcap').write_bytes(b'no bag')
    result = result_of(tiny_bundle, [bags[0], str(tmp_path / 'broken.mcap')], jobs=1)
    assert result['forecasts'] == result_of(tiny_bundle, bags[:1], jobs=1)['forecasts']
    assert 'broken.mcap: not a readable' in result['bags'][1]['error']


def test_lists_and_addresses_of_bags(bags, tmp_path):
    (tmp_path / 'list.txt').write_text(f'# two of them\n{bags[0]}\n\n{bags[1]}\n')
    assert list_bags([f'@{tmp_path / "list.txt"}', bags[2]]) == [bags[0], bags[1], bags[2]]
    folder = Path(bags[0]).parent
    assert list_bags([f'file://{folder}/*']) == [f'file://{bag}' for bag in bags]
    with pytest.raises(UserError, match='there is no such bag'):
        list_bags([f'file://{folder}/none*'])
    (tmp_path / 'itself').write_text(f'@{tmp_path / "itself"}\n')
    with pytest.raises(UserError, match='nested more than 10 deep; does one name itself'):
        list_bags([f'@{tmp_path / "itself"}'])
    for path in (tmp_path / 'nowhere', tmp_path, Path('/dev/zero')):
        with pytest.raises(UserError, match='not a readable list'):
            list_bags([f'@{path}'])


def test_a_bag_at_an_address_is_scored(tiny_bundle, bags):
    there = result_of(tiny_bundle, [f'file://{bags[0]}'], jobs=1)
    assert there['leads'] == result_of(tiny_bundle, bags[:1], jobs=1)['leads']


def test_limits():
    scores = {'skill': {name: {'fused': {'value': value}} for name, value in (
        ('features', 0.4), ('classes', 0.2), ('depth', 0.3), ('obstacles', None))},
        'miou': {'fused': 0.5}}
    result = {'leads': {'0.2': {}, '0.6': scores}}
    assert broken_limits(read_limits(['skill=0.1', 'miou=0.5', 'skill.depth=0.3']), result) == []
    [line] = broken_limits(read_limits(['skill=0.25']), result)
    assert 'skill of the published forecast, 0.6 s ahead, is 0.200, under the limit 0.25' == line
    assert 'not known' in broken_limits(read_limits(['skill.obstacles=-9']), result)[0]
    for text in ('skill', 'skill=high', 'beauty=1', 'miou=nan'):
        with pytest.raises(UserError, match='must be NAME=NUMBER'):
            read_limits([text])


def test_a_horizon_rolls_on(tmp_path):
    bundle = load_bundle(write_tiny_bundle(tmp_path / 'bundle', noise_std=1e-5))
    bag = write_drive(tmp_path / 'bag', fading_frames(bundle.manifest, 16), interval=0.2)
    engine = load_engine(bundle, 'onnxruntime', threads=1)
    result = {}
    for horizon in (None, 1.4):
        evaluator = Evaluator(engine, bundle, Options(num_samples=8, num_futures=3,
                                                      horizon=horizon))
        with BagFrames(bag) as frames:
            evaluator.run(frames)
        result[horizon] = evaluator.result()
    far = result[1.4]
    assert list(far['leads']) == ['0.2', '0.4', '0.6', '0.8', '1', '1.2', '1.4']
    # The truth of 1.4 s comes four frames later than that of 0.6 s.
    assert far['forecasts'] == result[None]['forecasts'] - 4 == 16 - 3 - 7
    # The picture goes on fading, as the bundle forecasts also where it rolls on.
    errors = [lead['feature_error'] for lead in far['leads'].values()]
    assert all(error['fused'] < 0.3 for error in errors), errors
    assert 'best_of_20' in errors[2] and 'best_of_20' not in errors[3]
    for wrong in (0.2, 99):
        with pytest.raises(UserError, match='--horizon'):
            Evaluator(engine, bundle, Options(horizon=wrong))


def test_what_is_written_of_each_forecast(tiny_bundle, bags, tmp_path):
    setup = WorkerSetup(str(tiny_bundle), 'onnxruntime', 1, options=OPTIONS,
                        write_bag=str(tmp_path))
    with Progress(disable=True) as bar:
        [scores] = score_bags(setup, bags[:1], bar, log=lambda line: None)
    write_lines(tmp_path / 'lines.jsonl', [scores])
    lines = [json.loads(line) for line in (tmp_path / 'lines.jsonl').read_text().splitlines()]
    assert len(lines) == scores.scored == 12 - 6
    result = pooled_result(load_bundle(tiny_bundle).manifest, OPTIONS, [scores])
    # As many pixels in each forecast, so their mean is that of all.
    assert np.mean([line['leads']['0.6']['pixel_accuracy']['fused'] for line in lines]) == \
        pytest.approx(result['leads']['0.6']['pixel_accuracy']['fused'])
    written = tmp_path / 'a_forecasts'
    with BagFrames(written, image='/forecast/lead_600ms/view',
                   labels='/forecast/lead_600ms/segmentation',
                   depth='/forecast/lead_600ms/depth') as forecast:
        frames = list(forecast)
        assert forecast.topics['camera_info'] == '/forecast/lead_600ms/camera_info'
    assert [frame.stamp for frame in frames] == [line['stamp'] for line in lines]
    m = load_bundle(tiny_bundle).manifest
    assert frames[0].labels.shape == (m.map_height, m.map_width)
    assert frames[0].intrinsics[0, 0] == pytest.approx(64.0 * m.map_width / m.image_width)
    assert np.isfinite(frames[0].depth).all()


def odometry_message(stamp: int, speed: float, yaw_rate: float):
    types = STORE.types
    vector, zero = types['geometry_msgs/msg/Vector3'], np.zeros(36)
    pose = types['geometry_msgs/msg/Pose'](
        position=types['geometry_msgs/msg/Point'](0.0, 0.0, 0.0),
        orientation=types['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 1.0))
    return types['nav_msgs/msg/Odometry'](
        header=header(stamp, 'odom'), child_frame_id='base_link',
        pose=types['geometry_msgs/msg/PoseWithCovariance'](pose=pose, covariance=zero),
        twist=types['geometry_msgs/msg/TwistWithCovariance'](
            twist=types['geometry_msgs/msg/Twist'](
                linear=vector(speed, 0.0, 0.0), angular=vector(0.0, 0.0, yaw_rate)),
            covariance=zero))


def test_odometry_makes_an_ego_motion_baseline(tiny_bundle, tmp_path):
    bundle = load_bundle(tiny_bundle)
    m = bundle.manifest
    frame = fading_frames(m, 1)[0]
    results = {}
    for speed in (0.0, 5.0):
        messages = []
        for index in range(12):
            stamp = START + index * 200_000_000
            messages += [
                ('/odom', stamp - 1000, odometry_message(stamp - 1000, speed, 0.0)),
                ('/camera/camera_info', stamp,
                 camera_info_message(stamp, m.image_width, m.image_height, 64.0)),
                ('/camera/image', stamp, image_message(stamp, frame))]
        path = write_bag(tmp_path / f'at_{speed:g}', messages)
        assert read_odometry(path).at(START, 0.5) == (speed, 0.0)
        assert read_odometry(path).at(START + 10_000_000_000, 0.5) is None
        evaluator = Evaluator(load_engine(bundle, 'onnxruntime', threads=1), bundle, OPTIONS)
        with BagFrames(path) as bag:
            evaluator.run(bag)
        results[speed] = evaluator.result()['leads']['0.6']
    # Nothing moves in these pictures, so standing still is right and driving on is wrong.
    assert results[0.0]['depth_absrel']['ego_motion'] == pytest.approx(0, abs=1e-6)
    assert results[0.0]['pixel_accuracy']['ego_motion'] == 1
    assert results[5.0]['depth_absrel']['ego_motion'] > 0.05
    with pytest.raises(UserError, match="no topic '/none' of type Odometry; it has /odom"):
        read_odometry(path, '/none')


@pytest.mark.parametrize('jobs', [1, 2])
def test_a_bag_that_fails_keeps_the_scores_of_the_others(
        tiny_bundle: Path, tmp_path: Path, jobs: int) -> None:
    m = load_bundle(tiny_bundle).manifest
    good = write_drive(tmp_path / 'good', fading_frames(m, 20), interval=0.2)
    odd = write_drive(tmp_path / 'odd', fading_frames(m, 20), interval=0.2)
    [file] = odd.glob('*.mcap')
    file.write_bytes(b'no bag')
    setup = WorkerSetup(str(tiny_bundle), 'onnxruntime', 1, options=OPTIONS)
    with Progress(disable=True) as bar:
        scored = score_bags(
            setup, [str(good), str(odd), str(tmp_path / 'gone')], bar, jobs=jobs, log=print)
    assert [bool(one.scored) for one in scored] == [True, False, False]
    assert 'it begins as none of them' in scored[1].error
    assert 'there is no such bag' in scored[2].error
