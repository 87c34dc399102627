# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The matching of forecasts with what came, and the scores of published forecasts."""

from __future__ import annotations

import time

import numpy as np
import pytest
from support.bags import START

from deltaworld_ros.errors import UserError
from deltaworld_ros.evaluate.matching import FutureMatcher
from deltaworld_ros.evaluate.moments import Moment, MomentKeeper, load_moments, save_moments
from deltaworld_ros.evaluate.published import Published, score_published

LEADS = (0.2, 0.4, 0.6)
MS = 1_000_000


def match(stamps_ms: list[int], forecast_ms: int) -> list[tuple[list[int], list[int]]]:
    """Return the frames (ms) and offsets (ms) that one forecast is matched with."""
    matcher: FutureMatcher[str, int] = FutureMatcher(LEADS)
    found = []
    for stamp in stamps_ms:
        found += matcher.add_frame(START + stamp * MS, stamp)
        if stamp == forecast_ms:
            matcher.add_forecast(START + stamp * MS, 'forecast')
    found += matcher.end()
    return [(one.frames, [offset // MS for offset in one.offsets]) for one in found]


def test_exact_stamps():
    assert match(list(range(0, 2000, 200)), 400) == [([600, 800, 1000], [0, 0, 0])]
    assert match(list(range(0, 2000, 50)), 400) == [([600, 800, 1000], [0, 0, 0])]


def test_the_nearest_frame_and_the_earlier_of_two():
    # 12.5 Hz: 0.2 and 0.6 s fall in the middle between two frames.
    assert match(list(range(0, 1600, 80)), 320) == [([480, 720, 880], [-40, 0, -40])]
    assert match(list(range(0, 1600, 33)), 330) == [([528, 726, 924], [-2, -4, -6])]


def test_a_missing_frame_loses_the_forecast():
    stamps = [stamp for stamp in range(0, 2000, 100) if stamp != 900]
    assert match(stamps, 500) == []
    assert match(stamps, 100) == [([300, 500, 700], [0, 0, 0])]


def test_slow_cameras_are_matched_within_a_quarter_of_the_first_lead():
    # At 3 Hz the nearest frame to 0.2 s is 133 ms off, which is no truth.
    assert match(list(range(0, 4000, 333)), 666) == []


def test_the_last_frames_decide_at_the_end():
    # The frame 40 ms before stamp + 0.6 s is the last one of the drive.
    assert match(list(range(0, 900, 80)), 320) == [([480, 720, 880], [-40, 0, -40])]
    assert match(list(range(0, 801, 80)), 320) == []


def test_unmatched_forecasts_are_counted():
    matcher: FutureMatcher[str, int] = FutureMatcher(LEADS)
    matcher.add_frame(START, 0)
    matcher.add_forecast(START, 'forecast')
    assert matcher.waiting
    assert matcher.end() == []
    assert matcher.unmatched == 1 and not matcher.waiting


def test_a_frame_costs_the_same_late_in_a_long_drive():
    matcher: FutureMatcher[str, int] = FutureMatcher(LEADS)
    jitter = np.random.default_rng(0).integers(-9 * MS, 9 * MS, 6000)
    stamps = START + np.arange(6000) * 100 * MS + jitter
    took = []
    for index, stamp in enumerate(stamps.tolist()):
        started = time.thread_time()
        matcher.add_frame(stamp, index)
        matcher.add_forecast(stamp, 'forecast')
        took.append(time.thread_time() - started)
    assert np.median(took[-1000:]) < 4 * np.median(took[100:500])
    matcher.end()
    assert matcher.unmatched == 6


def drive(count: int, future_labels: np.ndarray, lead_labels: np.ndarray) -> dict[int, Published]:
    """Return what a node published at 10 Hz: class i in image i, forecasts as they are given."""
    published = {}
    for index in range(count):
        labels = np.full((4, 6), index % 3, np.uint8)
        depth = np.full((4, 6), 10.0 + index, np.float32)
        one = Published(image=np.zeros((8, 12, 3), np.uint8), image_time=0.1 * index,
                        forecast_time=0.1 * index + 0.03, weights=np.array([0.75, 0.25]))
        one.maps[0, 'segmentation'], one.maps[0, 'depth'] = labels, depth
        for number, lead in enumerate((200, 400, 600)):
            one.maps[lead, 'segmentation'] = np.full((4, 6), lead_labels[index, number], np.uint8)
            one.maps[lead, 'depth'] = depth + 2.0
            one.maps[lead, 'confidence'] = np.full((4, 6), 255, np.uint8)
            one.maps[lead, 'futures/segmentation'] = np.broadcast_to(
                future_labels[index, number].astype(np.uint8), (4, 6, 2))
            one.maps[lead, 'futures/depth'] = np.stack([depth + 2.0 * (number + 1), depth], -1)
        published[START + index * 100 * MS] = one
    return published


def test_published_forecasts_are_scored_by_what_came():
    index = np.arange(20)[:, None]
    steps = np.array([2, 4, 6])
    right = (index + steps) % 3
    # The fused maps are always right; of the two futures the second is right.
    futures = np.stack([(right + 1) % 3, right], -1)
    scores = score_published(drive(20, futures, right), LEADS, 3, num_moments=3)
    summary = scores.summary
    assert (summary['forecasts'], summary['scored'], summary['images']) == (20, 14, 20)
    assert summary['dropped'] == 0
    assert summary['rate_hz'] == pytest.approx(10)
    assert summary['latency_ms'] == {'p50': pytest.approx(30), 'p95': pytest.approx(30)}
    last = summary['leads']['0.6']
    assert last['miou'] == {'fused': 1.0, 'best_of_k': 1.0, 'copy_last': 1.0}  # 6 images, class i
    assert summary['leads']['0.2']['miou'] == {'fused': 1.0, 'best_of_k': 1.0, 'copy_last': 0.0}
    truth = 10.0 + np.arange(6, 20)
    assert last['depth_absrel']['copy_last'] == pytest.approx(np.mean(6 / truth))
    assert last['depth_absrel']['fused'] == pytest.approx(np.mean(4 / truth))
    assert last['depth_absrel']['best_of_k'] == pytest.approx(np.mean(6 / truth))
    assert [moment.seconds for moment in scores.moments] == pytest.approx([0.0, 0.6, 1.3], abs=0.1)
    assert scores.images.shape == (14, 8, 12, 3)


def test_depth_counts_only_where_every_way_knows_it():
    right = (np.arange(12)[:, None] + np.array([2, 4, 6])) % 3
    published = drive(12, np.stack([right, right], -1), right)
    for one in published.values():
        one.maps[600, 'depth'][:2] = np.nan
        one.maps[0, 'depth'][3, 0] = np.nan
    clean = drive(12, np.stack([right, right], -1), right)
    scores = score_published(published, LEADS, 3, 1).summary['leads']['0.6']['depth_absrel']
    # The same value everywhere in a map, so fewer pixels give the same mean.
    assert scores == pytest.approx(
        score_published(clean, LEADS, 3, 1).summary['leads']['0.6']['depth_absrel'])


def test_images_without_an_answer_are_drops():
    right = (np.arange(20)[:, None] + np.array([2, 4, 6])) % 3
    published = drive(20, np.stack([right, right], -1), right)
    for index in (0, 1, 19):
        one = published[START + index * 100 * MS]
        one.maps.clear()
        one.forecast_time = None
    assert score_published(published, LEADS, 3, 1).summary['dropped'] == 3


def test_nothing_published_is_one_clear_error():
    only_images = {START: Published(image_time=0.0), START + 1: Published(image_time=0.1)}
    with pytest.raises(UserError, match='2 images were heard, 0 of them answered'):
        score_published(only_images, LEADS, 3, 1)


def moment(seconds: float) -> Moment:
    rng = np.random.default_rng(round(10 * seconds))
    labels = rng.integers(0, 3, (6, 4, 5)).astype(np.uint8)
    depth = rng.random((3, 4, 5)).astype(np.float32)
    return Moment(
        seconds=seconds, lead=0.6, image=rng.integers(0, 255, (8, 10, 3)).astype(np.uint8),
        future_image=np.zeros((8, 10, 3), np.uint8), present_labels=labels[0],
        present_depth=depth[0], fused_labels=labels[1], fused_depth=depth[1],
        confidence=depth[2], labels=labels[2:5], weights=np.array([0.5, 0.3, 0.2]),
        true_labels=labels[5], true_depth=depth[2])


def test_moments_survive_their_file(tmp_path):
    before = [moment(0.5), moment(1.5)]
    save_moments(tmp_path / 'moments.npz', before)
    after = load_moments(tmp_path / 'moments.npz')
    assert [one.seconds for one in after] == [0.5, 1.5]
    for old, new in zip(before, after, strict=True):
        for name, value in vars(old).items():
            np.testing.assert_array_equal(getattr(new, name), value)


@pytest.mark.parametrize('offered', [0, 1, 5, 6, 100, 1000])
def test_kept_moments_are_few_and_spread(offered: int):
    keeper = MomentKeeper(6)
    for index in range(offered):
        keeper.offer(lambda index=index: moment(float(index)))
    seconds = [one.seconds for one in keeper.chosen()]
    assert len(seconds) == min(6, offered)
    assert seconds == sorted(set(seconds))
    if offered >= 100:
        assert seconds[0] < offered / 6 and seconds[-1] > offered * 5 / 6
