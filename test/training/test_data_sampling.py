# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Clips drawn from recordings: the paper's times and crops, the same in every process."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from support.recordings import frame_numbers, truncate, write_video

from deltaworld_ros.errors import UserError
from deltaworld_ros.export.converted_bundle import KITTI_FOCAL_LENGTH
from deltaworld_training.data.clip import Clip
from deltaworld_training.data.crops import (
    BenchmarkCrop,
    CentreCrop,
    RandomResizedCrop,
    Region,
    canonical_depth,
    cut,
)
from deltaworld_training.data.open_source import CROPS
from deltaworld_training.data.problems import BrokenFile, Problems
from deltaworld_training.data.sampled_clips import SampledClips
from deltaworld_training.data.sampling import (
    FixedStride,
    RandomOffsets,
    nearest,
    stride_windows,
)
from deltaworld_training.data.sources.video_files import VideoFile


def jittered_times(generator: np.random.Generator, rate: float, count: int) -> np.ndarray:
    """Return the times of a camera that is up to 30 % late and lost a tenth of its frames."""
    times = (np.arange(count) + generator.uniform(0, 0.3, count)) / rate
    return 1.7e9 + times[generator.random(count) > 0.1]


@pytest.mark.parametrize('rate', [60.0, 30.0, 25.0, 15.0, 10.0, 7.5])
def test_random_offsets_are_those_of_the_paper(rate: float):
    sampling = RandomOffsets()
    steps = []
    for seed in range(60):
        generator = np.random.default_rng((7, seed))
        times = jittered_times(generator, rate, 400)
        indices = sampling.draw(times, generator)
        assert indices.shape == (8,)
        assert (np.diff(indices) > 0).all() and 0 <= indices[0] and indices[-1] < len(times)
        steps.append(np.diff(times[indices]))
    interval = 1 / rate
    # The nearest frame's own time differs from the drawn one by half an interval at most, or by
    # a whole one where a frame was lost.
    assert np.min(steps) > 1 / 25 - 1.4 * interval and np.max(steps) < 1 / 3 + 1.4 * interval
    # Above 25 Hz nothing is drawn again for meeting one frame twice: the mean is the paper's.
    if rate > 25:
        assert np.mean(steps) == pytest.approx((1 / 25 + 1 / 3) / 2, abs=0.015)


def test_offsets_are_uniform():
    times = np.arange(6000) / 1000
    steps = np.concatenate([
        np.diff(times[RandomOffsets().draw(times, np.random.default_rng(seed))])
        for seed in range(300)])
    counts, _ = np.histogram(steps, bins=6, range=(1 / 25, 1 / 3))
    assert counts.sum() >= 0.98 * len(steps)
    assert counts.min() > 0.8 * len(steps) / 6 and counts.max() < 1.2 * len(steps) / 6


def test_a_pause_is_not_spanned():
    # Ten drives of 3 s, ten seconds apart, as in the bags of the street world.
    times = np.concatenate([13 * drive + np.arange(30) / 10 for drive in range(10)])
    for seed in range(100):
        indices = RandomOffsets().draw(times, np.random.default_rng(seed))
        assert np.diff(times[indices]).max() < 0.5


@pytest.mark.parametrize(('times', 'reason'), [
    (np.arange(7) / 10, '7 frames; a clip needs 8'),
    (np.arange(100) / 2, '0.5 s apart; clips need at most 0.333 s'),
    (np.arange(20) / 100, '0.19 s at 100 Hz give no clip of 8 frames'),
    (np.arange(0), '0 frames; a clip needs 8'),
])
def test_recordings_that_give_no_clip_say_why(times: np.ndarray, reason: str):
    with pytest.raises(UserError, match=reason):
        RandomOffsets().draw(times, np.random.default_rng(0))


def test_every_window_of_a_fixed_stride_is_exact():
    times = np.arange(40) / 15
    windows = stride_windows(times, 0.2, 7)
    np.testing.assert_array_equal(windows, np.arange(22)[:, None] + 3 * np.arange(7))
    drawn = {int(FixedStride(0.2).draw(times, np.random.default_rng(s))[0]) for s in range(300)}
    assert drawn == set(range(22))
    # A camera of 9.66 Hz, as KITTI's is: nearest frames, each within half an interval.
    times = np.arange(60) * 0.1035
    windows = stride_windows(times, 0.2, 7)
    wanted = times[windows[:, :1]] + 0.2 * np.arange(7)
    assert len(windows) > 40 and np.abs(times[windows] - wanted).max() <= 0.0519
    with pytest.raises(UserError, match='give no clip of 7 frames 0.2 s apart'):
        FixedStride(0.2).draw(np.arange(10) / 10, np.random.default_rng(0))


def test_nearest_is_the_nearest():
    generator = np.random.default_rng(1)
    times = np.cumsum(generator.uniform(0.01, 0.2, 50))
    wanted = generator.uniform(-1, 8, (20, 10))
    expected = np.abs(wanted[..., None] - times).argmin(-1)
    np.testing.assert_array_equal(nearest(times, wanted), expected)


@pytest.mark.parametrize('frame', [(640, 360), (360, 640), (1216, 352), (64, 64), (3, 200)])
@pytest.mark.parametrize('size', [(256, 256), (384, 224)])
def test_random_crops_stay_within_the_papers_ranges(frame: tuple[int, int], size: tuple[int, int]):
    crop, target = RandomResizedCrop(), size[0] / size[1]
    shares = []
    for seed in range(200):
        x, y, width, height, mirrored, linear = crop.region(
            frame, size, np.random.default_rng(seed))
        assert 0 <= x <= frame[0] - width and 0 <= y <= frame[1] - height
        assert width >= 1 and height >= 1 and not mirrored and not linear
        shares.append(width * height / (frame[0] * frame[1]))
        if min(frame) > 60:
            assert 0.74 <= width / height / target <= 1.35
    if frame == (64, 64) and target == 1:
        assert min(shares) < 0.65 and 0.59 < min(shares) and max(shares) > 0.95


@pytest.mark.parametrize(('frame', 'part'), [
    ((1216, 352), (608, 352)), ((2048, 1024), (1024, 1024)), ((853, 480), (480, 480)),
    ((480, 853), (480, 480)), ((300, 300), (300, 300))])
def test_the_crops_of_the_benchmark_are_drawn_too(frame: tuple[int, int], part: tuple[int, int]):
    """Training sees both corners, where the benchmark scores, and all between them."""
    generator = np.random.default_rng(0)
    regions = [BenchmarkCrop().region(frame, (512, 512), generator) for _ in range(2000)]
    assert {(region.width, region.height) for region in regions} == {part}
    for axis in (0, 1):
        starts = [region[axis] for region in regions]
        assert min(starts) <= 3 and max(starts) >= frame[axis] - part[axis] - 3
    assert 0.45 < np.mean([region.mirrored for region in regions]) < 0.55
    clip = Clip(np.zeros((1, 352, 1216, 3), np.uint8), np.zeros(1), focal_length=721.5377)
    if frame == (1216, 352):
        squashed = cut(clip, regions[0], (512, 512))
        assert squashed.focal_length == pytest.approx(KITTI_FOCAL_LENGTH)


def test_mirrored_share():
    regions = [RandomResizedCrop(mirror=0.5).region((80, 60), (32, 32), np.random.default_rng(s))
               for s in range(200)]
    assert 70 < sum(region.mirrored for region in regions) < 130


def test_the_release_shrinks_without_antialiasing():
    """Of a grating, linear interpolation by four sees one phase; an area is the mean."""
    frames = np.zeros((1, 32, 32, 3), np.uint8)
    frames[:, :, 1::4] = frames[:, :, 2::4] = 200
    clip = Clip(frames, np.zeros(1))
    region = CROPS['released']().region((32, 32), (8, 8), np.random.default_rng(0))
    assert region.linear
    sharp, smooth = (
        cut(clip, Region(0, 0, 32, 32, linear=linear), (8, 8)).frames for linear in (True, False))
    assert (sharp == 200).all() and (smooth == 100).all()


def test_one_region_is_cut_out_of_frames_maps_and_focal_length():
    rows, columns = np.mgrid[:60, :80]
    frames = np.stack([np.stack([columns, rows, rows * 0 + n], -1) for n in range(3)])
    labels = np.stack([columns // 4 + rows // 4] * 3).astype(np.uint8)
    depth = np.stack([columns + 100.0 * rows] * 3).astype(np.float32)
    depth[:, 30, 40] = np.nan
    clip = Clip(frames.astype(np.uint8), np.arange(3.0), labels, depth, 50.0)
    seen = cut(clip, Region(20, 12, 40, 24), (40, 24))
    np.testing.assert_array_equal(seen.frames, clip.frames[:, 12:36, 20:60])
    np.testing.assert_array_equal(seen.labels, labels[:, 12:36, 20:60])
    np.testing.assert_array_equal(seen.depth, depth[:, 12:36, 20:60])
    assert seen.focal_length == 50.0
    mirrored = cut(clip, Region(20, 12, 40, 24, True), (40, 24))
    np.testing.assert_array_equal(mirrored.frames, seen.frames[:, :, ::-1])
    np.testing.assert_array_equal(mirrored.depth, seen.depth[:, :, ::-1])
    half = cut(clip, Region(20, 12, 40, 24), (20, 12))
    assert half.frames.shape == (3, 12, 20, 3) and half.focal_length == 25.0
    # Labels hold only values that were there; each pixel is the frame's at the same place.
    assert set(np.unique(half.labels)) <= set(np.unique(seen.labels))
    np.testing.assert_allclose(
        half.depth[0], half.frames[0, :, :, 0] + 100.0 * half.frames[0, :, :, 1], atol=52)
    known = np.r_[:9, 10:12]
    np.testing.assert_allclose(
        half.depth[0, known], (20.5 + 2 * np.arange(20)) + 100 * (12.5 + 2 * known)[:, None])
    squeezed = cut(clip, Region(0, 0, 80, 60), (20, 60))
    assert squeezed.focal_length == 25.0   # the mean of 12.5 across and 50 down


def test_canonical_depth_scales_with_the_focal_length():
    depth = np.array([[[10.0, np.nan, np.inf]]], np.float32)
    clip = Clip(np.zeros((1, 1, 3, 3), np.uint8), np.zeros(1), None, depth, 200.0)
    np.testing.assert_array_equal(canonical_depth(clip, 100.0), [[[5.0, np.nan, np.nan]]])
    assert canonical_depth(Clip(clip.frames, clip.times, None, depth), 100.0) is None
    assert canonical_depth(Clip(clip.frames, clip.times), 100.0) is None


def test_the_centre_crop_keeps_the_aspect():
    generator = np.random.default_rng(0)
    assert CentreCrop().region((640, 360), (256, 256), generator) == Region(140, 0, 360, 360)
    assert CentreCrop().region((360, 640), (128, 64), generator) == Region(0, 230, 360, 180)
    assert CentreCrop('squash').region((360, 640), (128, 64), generator) == Region(0, 0, 360, 640)


def test_random_cuts_of_squashed_frames_have_the_frames_aspect():
    crop = RandomResizedCrop(aspect=(0.95, 1.05), fit='squash')
    generator = np.random.default_rng(0)
    for _ in range(20):
        region = crop.region((640, 360), (64, 64), generator)
        assert 0.94 * 640 / 360 < region.width / region.height < 1.06 * 640 / 360


@pytest.fixture(scope='module')
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp('videos')
    return [write_video(folder / f'{name}.mp4', 80) for name in 'abc']


def sampled(paths: Sequence[Path], clips: int = 6, seed: int = 3) -> SampledClips:
    return SampledClips([VideoFile(path) for path in paths], RandomOffsets(),
                        RandomResizedCrop(), (32, 32), clips, seed)


def test_clips_carry_the_true_times_of_their_frames(videos: list[Path]):
    source = sampled(videos, clips=12)
    assert len(source) == 12
    for index in range(12):
        clip = source.clip(index)
        assert clip.frames.shape == (8, 32, 32, 3) and clip.frames.dtype == np.uint8
        numbers = np.array(frame_numbers(clip.frames))
        np.testing.assert_allclose(clip.times, (numbers - numbers[0]) / 25, atol=1e-9)
    assert not source.problems


def digest(task: tuple[SampledClips, int]) -> bytes:
    source, index = task
    clip = source.clip(index)
    return clip.frames.tobytes() + clip.times.tobytes()


def test_the_same_index_is_the_same_clip_in_every_process(videos: list[Path]):
    source = sampled(videos)
    here = [digest((source, index)) for index in range(6)]
    assert len(set(here)) == 6
    # In other orders, from a copy, and from fresh interpreters.
    copy = pickle.loads(pickle.dumps(source))
    assert [digest((copy, index)) for index in (5, 2, 0)] == [here[5], here[2], here[0]]
    with ProcessPoolExecutor(2, mp_context=get_context('spawn')) as pool:
        assert list(pool.map(digest, [(source, index) for index in range(6)])) == here
    assert digest((sampled(videos, seed=4), 0)) != here[0]


def test_broken_recordings_are_named_skipped_and_counted(
        videos: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture):
    broken = tmp_path / 'broken.mp4'
    broken.write_bytes(videos[0].read_bytes())
    truncate(broken)
    short = write_video(tmp_path / 'short.mp4', 5)
    paths = [broken, tmp_path / 'missing.mp4', short, videos[1]]
    source = sampled(paths, clips=40)
    with caplog.at_level(logging.WARNING, 'deltaworld_training.data'):
        clips = [source.clip(index) for index in range(40)]
    assert all(clip.frames.shape == (8, 32, 32, 3) for clip in clips)
    assert set(source.problems.reasons) == {str(path) for path in paths[:3]}
    assert len(caplog.records) == 3, 'one line a file, however often it is met'
    assert all('\n' not in record.getMessage() for record in caplog.records)
    assert sum(source.problems.counts.values()) > 30
    assert 'skipped 3 files' in source.problems.summary()
    # What one process met before does not change what another draws.
    again = sampled(paths, clips=40)
    np.testing.assert_array_equal(again.clip(37).frames, clips[37].frames)


def test_an_error_comes_only_when_nothing_is_left(tmp_path: Path):
    missing = [tmp_path / f'{number}.mp4' for number in range(20)]
    source = sampled(missing)
    with pytest.raises(UserError, match='none of the 20 recordings gives a clip.* and 17 more'):
        source.clip(0)
    assert len(source.problems) == 20
    good = write_video(tmp_path / 'good.mp4', 80)
    assert len(sampled([*missing, good]).clip(0).frames) == 8
    with pytest.raises(UserError, match='no recordings'):
        sampled([])


def test_problems_name_the_file_of_a_recording():
    problems = Problems()
    assert problems.summary() == '' and len(problems) == 0
    problems.add('drive', BrokenFile('drive/7.png', 'a truncated\nPNG'))
    problems.add('drive', BrokenFile('drive/7.png', 'a truncated PNG'))
    problems.add('other', OSError('gone'))
    assert problems.reasons == {'drive/7.png': 'drive/7.png: a truncated PNG', 'other': 'gone'}
    assert problems.counts == {'drive/7.png': 2, 'other': 1}
    copy = pickle.loads(pickle.dumps(BrokenFile('a', 'b')))
    assert (str(copy), copy.path) == ('a: b', 'a')
