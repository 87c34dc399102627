# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Videos, folders of frames and bags as recordings, whole and broken."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from support.bags import (
    START,
    camera_info_message,
    compressed_message,
    image_message,
    write_bag,
    write_drive,
)
from support.recordings import (
    frame_numbers,
    numbered_frame,
    truncate,
    write_image,
    write_video,
)

from deltaworld_ros.errors import UserError
from deltaworld_training.data.crops import RandomResizedCrop
from deltaworld_training.data.sampled_clips import SampledClips
from deltaworld_training.data.sampling import RandomOffsets
from deltaworld_training.data.sources import KINDS, open_recordings, open_windows

FRAMES = np.stack([numbered_frame(number, (20, 12)) for number in range(40)])


@pytest.mark.parametrize(('name', 'codec'), [
    ('a.mp4', 'libx264'), ('a.mkv', 'libx264'), ('a.avi', 'mjpeg'), ('a.avi', 'mpeg4'),
    ('a.ts', 'libx264'), ('a.webm', 'libvpx-vp9'),
])
def test_any_frames_of_a_video(tmp_path: Path, name: str, codec: str):
    path = write_video(tmp_path / name, 70, codec=codec)
    [recording] = open_recordings('videos', path)
    times = recording.times()
    np.testing.assert_allclose(times - times[0], np.arange(70) / 25, atol=1.1e-3)
    for indices in ([0, 1, 2], [13, 29, 30, 31], [0, 69], [9], [68, 69], list(range(70))):
        clip = recording.read(indices)
        assert frame_numbers(clip.frames) == indices
        np.testing.assert_array_equal(clip.times, times[indices])
        assert clip.frames.shape[1:] == (48, 64, 3) and clip.labels is None


def test_a_video_of_changing_rate_keeps_its_own_times(tmp_path: Path):
    generator = np.random.default_rng(0)
    milliseconds = np.cumsum(generator.integers(20, 90, 60)).tolist()
    path = write_video(tmp_path / 'a.mkv', 60, milliseconds=milliseconds)
    [recording] = open_recordings('videos', path)
    np.testing.assert_allclose(recording.times(), np.array(milliseconds) / 1e3, atol=1.1e-3)
    assert frame_numbers(recording.read([3, 17, 44]).frames) == [3, 17, 44]


def test_reading_seeks_and_decodes_no_more_than_it_must(tmp_path: Path):
    path = write_video(tmp_path / 'a.mp4', 80)
    data = bytearray(path.read_bytes())
    [recording] = open_recordings('videos', path)
    expected = recording.read([65, 75]).frames
    # The pictures of the first half are gone; whoever decoded them would notice.
    start = data.index(b'mdat') + 4
    end = start + int.from_bytes(data[start - 8:start - 4], 'big') - 8
    data[start:(start + end) // 2] = bytes((start + end) // 2 - start)
    path.write_bytes(data)
    np.testing.assert_array_equal(recording.read([65, 75]).frames, expected)
    with pytest.raises(UserError, match=re.escape(str(path))):
        recording.read([0, 5])


def test_broken_videos_are_user_errors_of_one_line(tmp_path: Path):
    cut = write_video(tmp_path / 'cut.mp4', 30)
    truncate(cut)
    text = tmp_path / 'text.mp4'
    text.write_text('hello')
    empty = tmp_path / 'empty.mp4'
    empty.touch()
    silent = tmp_path / 'missing.mp4'
    for path, recording in zip(
            [cut, text, empty, silent],
            open_recordings('videos', [cut, text, empty, silent]), strict=True):
        with pytest.raises(UserError, match=re.escape(str(path))) as caught:
            recording.times()
        assert '\n' not in str(caught.value)


def test_what_is_left_of_a_truncated_video_is_read(tmp_path: Path):
    path = write_video(tmp_path / 'a.mkv', 70)
    truncate(path, 0.6)
    [recording] = open_recordings('videos', path)
    count = len(recording.times())
    assert 20 < count < 65
    assert frame_numbers(recording.read([0, 11, count - 12]).frames) == [0, 11, count - 12]


def test_a_folder_of_videos_is_searched(tmp_path: Path):
    for name in ('b/x.mp4', 'a.MKV', 'b/c/y.avi', 'b/._x.mp4', 'notes.txt'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [recording.name for recording in open_recordings('videos', tmp_path)] == [
        str(tmp_path / name) for name in ('a.MKV', 'b/c/y.avi', 'b/x.mp4')]


def write_frames(folder: Path, names: list[str]) -> Path:
    for number, name in enumerate(names):
        write_image(folder / name, FRAMES[number])
    return folder


@pytest.mark.parametrize(('names', 'times'), [
    ([f'{1_403_636_579_763_555_584 + 50_000_000 * n}.png' for n in range(12)], 0.05),
    ([f'{1305031102.175304 + 0.04 * n:.6f}.png' for n in range(12)], 0.04),
    ([f'{1_700_000_000_000 + 100 * n}.jpg' for n in range(12)], 0.1),
    ([f'clip_{n / 8:.4f}.jpg' for n in range(12)], 0.125),
])
def test_times_of_frames_from_their_names(tmp_path: Path, names: list[str], times: float):
    [recording] = open_recordings('frames', write_frames(tmp_path, names))
    np.testing.assert_allclose(recording.times(), times * np.arange(12), atol=1e-6)
    assert frame_numbers(recording.read([2, 7, 11]).frames) == [2, 7, 11]


def test_frames_by_rate_or_by_a_file_of_times(tmp_path: Path):
    # Unpadded numbers are sorted as numbers.
    write_frames(tmp_path / 'a', [f'frame_{number}.png' for number in range(12)])
    [recording] = open_recordings('frames', tmp_path, rate=20.0)
    np.testing.assert_allclose(recording.times(), np.arange(12) / 20)
    clip = recording.read([1, 2, 10])
    assert frame_numbers(clip.frames) == [1, 2, 10]
    np.testing.assert_allclose(clip.times, [0.05, 0.1, 0.5])
    [recording] = open_recordings('frames', tmp_path)
    with pytest.raises(UserError, match='give the rate'):
        recording.times()
    listing = tmp_path / 'a' / 'timestamps.txt'
    listing.write_text('\n'.join(f'{7 + 0.1 * n:.2f}' for n in range(12)))
    np.testing.assert_allclose(recording.times(), 0.1 * np.arange(12))
    for text, reason in [
            ('1\n2\n', '2 times for 12 images'), ('', 'empty'), ('a\n' * 12, 'not a time a line'),
            ('1\n' * 12, 'time of frame 1 is not after')]:
        listing.write_text(text)
        with pytest.raises(UserError, match=f'timestamps.txt: .*{reason}'):
            recording.times()
    with pytest.raises(UserError, match='rate -1'):
        open_recordings('frames', tmp_path, rate=-1)


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_broken_frames_are_named(tmp_path: Path, suffix: str):
    names = [f'{number:03d}.{suffix}' for number in range(12)]
    [recording] = open_recordings('frames', write_frames(tmp_path, names), rate=10)
    truncate(tmp_path / names[3])
    (tmp_path / names[5]).unlink()
    (tmp_path / names[6]).write_text('nothing')
    write_image(tmp_path / names[7], FRAMES[7, :6])
    clip = recording.read([0, 7])
    assert frame_numbers(clip.frames) == [0, 8]
    # Its number tells the time of a frame, so a missing one shifts no other.
    np.testing.assert_allclose(clip.times, [0, 0.8])
    for index, number in ((3, 3), (5, 6), (6, 7)):
        with pytest.raises(UserError, match=re.escape(str(tmp_path / names[number]))):
            recording.read([0, index])


def test_a_broken_frame_spoils_only_its_clips(tmp_path: Path):
    names = [f'{number:03d}.png' for number in range(40)]
    recordings = open_recordings('frames', write_frames(tmp_path, names), rate=20)
    truncate(tmp_path / names[20])
    source = SampledClips(recordings * 4, RandomOffsets(), RandomResizedCrop(), (8, 8), 30, 0)
    for index in range(30):
        assert 20 not in frame_numbers(source.clip(index).frames)
    assert list(source.problems.reasons) == [str(tmp_path / names[20])]


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('compressed', [False, True])
def test_a_bag_with_ground_truth(tmp_path: Path, storage: str, compressed: bool):
    labels = np.arange(40, dtype=np.uint8)[:, None, None].repeat(12, 1).repeat(20, 2)
    depth = labels.astype(np.float32) / 2
    depth[:, 0, 0] = np.nan
    path = write_drive(tmp_path / 'bag', FRAMES, storage=storage, compressed=compressed,
                       focal_length=33.0, labels=labels, depth=depth)
    [recording] = open_recordings('bag', path)
    np.testing.assert_allclose(recording.times(), np.arange(40) / 10)
    for indices in ([0], [5, 17, 39], [38, 39], [2, 3]):
        clip = recording.read(indices)
        assert frame_numbers(clip.frames) == indices
        np.testing.assert_allclose(clip.times, np.array(indices) / 10)
        np.testing.assert_array_equal(clip.labels, labels[indices])
        np.testing.assert_array_equal(clip.depth, depth[indices])
        assert clip.focal_length == 33.0


def test_a_range_of_a_bag(tmp_path: Path):
    path = write_drive(tmp_path / 'bag', FRAMES)
    [first] = open_recordings('bag', path, end=1.5)
    [last] = open_recordings('bag', path, start=1.5)
    np.testing.assert_allclose(first.times(), np.arange(15) / 10)
    np.testing.assert_allclose(last.times(), np.arange(15, 40) / 10)
    assert frame_numbers(first.read([0, 14]).frames) == [0, 14]
    assert frame_numbers(last.read([0, 24]).frames) == [15, 39]
    clip = last.read([0])
    assert clip.labels is None and clip.depth is None and clip.focal_length is None
    [nothing] = open_recordings('bag', path, start=60)
    with pytest.raises(UserError, match='no images from 60 to None s; it has 3.9 s'):
        nothing.times()
    with pytest.raises(UserError, match='range 3 to 2 s'):
        open_recordings('bag', path, start=3, end=2)


def test_times_of_a_bag_are_those_of_the_headers(tmp_path: Path):
    # Written late, one out of order, one twice, one without a stamp: as the node takes them.
    order = [0, 2, 1, 3, 3, *range(4, 12), None, *range(12, 20)]
    messages = [
        ('/camera/image', START + 50_000_000 * place + 7_000_000_000,
         image_message(0 if number is None else START + 100_000_000 * number,
                       FRAMES[number or 0]))
        for place, number in enumerate(order)]
    [recording] = open_recordings('bag', write_bag(tmp_path / 'bag', messages))
    expected = [0, *range(2, 20)]
    np.testing.assert_allclose(recording.times(), np.array(expected) / 10)
    assert frame_numbers(recording.read(list(range(19))).frames) == expected


@pytest.mark.parametrize('stamps', [
    # A first image without a stamp; one far ahead; three of another day.
    [0, *range(10**7, 10**7 + 20)], [*range(100, 110), 99_999, *range(110, 120)],
    [*range(100, 120), *range(5, 8)],
])
def test_misdated_images_are_no_part_of_a_recording(tmp_path: Path, stamps: list[int]):
    messages = [
        ('/camera/image', START + place, image_message(100_000_000 * stamp, FRAMES[0]))
        for place, stamp in enumerate(stamps)]
    [recording] = open_recordings('bag', write_bag(tmp_path / 'bag', messages))
    np.testing.assert_allclose(recording.times(), np.arange(20) / 10)


def test_ground_truth_of_some_frames_and_another_size(tmp_path: Path):
    messages = []
    for number in range(6):
        stamp = START + number * 100_000_000
        messages.append(('/camera/image', stamp, image_message(stamp, FRAMES[number])))
        if number == 3:
            small = np.full((6, 10), 4, np.uint8)
            messages.append(('/camera/label', stamp, image_message(stamp, small, 'mono8')))
    [recording] = open_recordings('bag', write_bag(tmp_path / 'bag', messages))
    labels = recording.read([2, 3]).labels
    assert labels.shape == (2, 12, 20)
    assert (labels[0] == 255).all() and (labels[1] == 4).all()


@pytest.mark.parametrize(('topic', 'rectified', 'expected'), [
    ('/camera/image', 'auto', 14.0), ('/camera/image_rect', 'auto', 7.0),
    ('/camera/image', True, 7.0)])
def test_the_focal_length_is_that_of_the_image_as_published(
    tmp_path: Path, topic: str, rectified: bool | str, expected: float,
):
    info = camera_info_message(START, 40, 24, 28.0)
    info.binning_x = info.binning_y = 2
    info.p[[0, 5]] = 14.0
    path = write_bag(tmp_path / 'bag', [
        ('/camera/camera_info', START, info), (topic, START, image_message(START, FRAMES[0]))])
    [recording] = open_recordings('bag', path, rectified=rectified)
    assert recording.read([0]).focal_length == expected
    with pytest.raises(UserError, match="rectified 'maybe' of a bag: must be one of auto, true"):
        open_recordings('bag', path, rectified='maybe')


def test_broken_bags_and_images_are_named(tmp_path: Path):
    path = write_drive(tmp_path / 'whole', FRAMES, compressed=True)
    for name in ('damaged', 'text'):
        folder = tmp_path / name
        folder.mkdir()
        for file in path.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    [file] = (tmp_path / 'damaged').glob('*.mcap')
    truncate(file)
    [file] = (tmp_path / 'text').glob('*.mcap')
    file.write_text('no bag')
    recordings = open_recordings('bag', tmp_path)
    assert [recording.name for recording in recordings] == [
        str(tmp_path / name) for name in ('damaged', 'text', 'whole')]
    source = SampledClips(recordings, RandomOffsets(), RandomResizedCrop(), (8, 8), 12, 0)
    for index in range(12):
        assert source.clip(index).frames.shape == (8, 8, 8, 3)
    assert str(tmp_path / 'text') in source.problems.reasons

    half = compressed_message(START + 500_000_000, FRAMES[5])
    half.data = half.data[:20]
    messages = [
        ('/camera/image/compressed', START + n * 100_000_000,
         half if n == 5 else compressed_message(START + n * 100_000_000, FRAMES[n]))
        for n in range(10)]
    [recording] = open_recordings('bag', write_bag(tmp_path / 'one', messages))
    assert frame_numbers(recording.read([4, 6]).frames) == [4, 6]
    with pytest.raises(UserError, match=f'{tmp_path}/one: /camera/image/compressed at stamp'):
        recording.read([4, 5])


def test_an_open_bag_goes_to_other_processes(tmp_path: Path):
    path = write_drive(tmp_path / 'bag', FRAMES)
    [recording] = open_recordings('bag', path)
    recording.times()
    copy = pickle.loads(pickle.dumps(recording))
    assert frame_numbers(copy.read([7]).frames) == [7]
    # A forked worker shares the open file, but must not share the place in it.
    child = os.fork()
    if child == 0:
        same = all(frame_numbers(recording.read([n, 39 - n]).frames) == [n, 39 - n]
                   for n in range(15))
        os._exit(0 if same else 1)
    assert all(frame_numbers(recording.read([n, 30]).frames) == [n, 30] for n in range(25))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_many_bags_need_few_open_files(tmp_path: Path):
    for number in range(12):
        write_drive(tmp_path / f'{number:02d}', FRAMES[number:number + 2])
    recordings = open_recordings('bag', tmp_path)
    descriptors = Path('/proc/self/fd')
    before = len(list(descriptors.iterdir()))
    for _ in range(2):
        for number, recording in enumerate(recordings):
            assert frame_numbers(recording.read([0, 1]).frames) == [number, number + 1]
    assert len(list(descriptors.iterdir())) - before <= 8


@pytest.mark.parametrize(('kind', 'options', 'reason'), [
    ('film', {}, "source 'film': must be one of videos, frames, bag, kinetics"),
    ('videos', {'rate': 3}, "option 'rate' of source 'videos': must be one of none"),
    ('bag', {'topic': '/x'}, "option 'topic' of source 'bag': must be one of image, labels"),
    ('videos', {}, 'a folder without videos'),
    ('frames', {}, 'no folder with images'),
    ('bag', {}, 'no bag'),
    ('kinetics', {}, 'Kinetics has'),
    ('vspw', {}, 'VSPW has'),
    ('cityscapes', {}, 'Cityscapes has'),
    ('kitti', {}, 'KITTI has'),
])
def test_what_cannot_be_opened_is_said_in_one_line(
        tmp_path: Path, kind: str, options: dict, reason: str):
    with pytest.raises(UserError, match=reason) as caught:
        open_recordings(kind, tmp_path, **options)
    assert '\n' not in str(caught.value)


def test_the_documented_sources_are_these():
    page = (Path(__file__).parents[2] / 'docs' / 'datasets.md').read_text()
    rows = {row.split('`')[1]: row for row in page.splitlines() if row.startswith('| `')}
    assert tuple(rows) == KINDS
    for kind, row in rows.items():
        with pytest.raises(UserError) as caught:
            open_recordings(kind, Path(__file__).parent, unknown=1)
        accepted = str(caught.value).partition('must be one of ')[2]
        for option in accepted.split(', '):
            assert option == 'none' or f'`{option}`' in row, f'{kind}: {option}'


def test_what_does_not_exist(tmp_path: Path):
    for kind in KINDS:
        with pytest.raises(UserError, match='no such file or folder'):
            open_recordings(kind, tmp_path / 'nothing')
    with pytest.raises(UserError, match="'videos': must be one of vspw, cityscapes, kitti"):
        open_windows('videos', tmp_path)
