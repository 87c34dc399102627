# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Kinetics, VSPW, Cityscapes and KITTI read from small replicas of their real layouts."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from support.recordings import frame_numbers, numbered_frame, truncate, write_image, write_video

from deltaworld_ros.bundle.class_lists import CITYSCAPES as CLASSES
from deltaworld_ros.errors import UserError
from deltaworld_training.data.clip import Clip
from deltaworld_training.data.crops import RandomResizedCrop
from deltaworld_training.data.problems import Problems
from deltaworld_training.data.recordings import Window
from deltaworld_training.data.sampled_clips import SampledClips
from deltaworld_training.data.sampling import RandomOffsets
from deltaworld_training.data.sources import open_recordings, open_windows
from deltaworld_training.data.sources.kitti import eigen_crop, garg_mask, read_split
from deltaworld_training.data.sources.vspw import class_names, train_labels

SIZE = (32, 24)


def read_window(window: Window) -> Clip:
    return window.recording.read(window.indices.tolist())


def test_kinetics_by_class_and_by_annotation(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    train = tmp_path / 'train'
    video = write_video(train / 'abseiling' / '-3B32lodo2M_000059_000069.mp4', 60)
    for name in ('zumba/0_4uJ9hC5nQ_000001_000011.mp4', 'a-b_C_000000_000010.mp4'):
        (train / name).parent.mkdir(exist_ok=True)
        (train / name).write_bytes(video.read_bytes())
    (tmp_path / 'val').mkdir()
    recordings = open_recordings('kinetics', tmp_path)
    assert [Path(recording.name).name[:11] for recording in recordings] == [
        'a-b_C_00000', '-3B32lodo2M', '0_4uJ9hC5nQ']
    assert frame_numbers(recordings[0].read([5, 40]).frames) == [5, 40]

    listing = tmp_path / 'train.csv'
    listing.write_text('label,youtube_id,time_start,time_end,split\n'
                       'abseiling,-3B32lodo2M,59,69,train\n'
                       'zumba,gone_from_YT,3,13,train\n')
    with caplog.at_level(logging.WARNING, 'deltaworld_training.data'):
        [recording] = open_recordings('kinetics', tmp_path, annotations=listing)
    assert recording.name == str(video)
    assert [record.getMessage() for record in caplog.records] == [
        f'{listing}: 1 of 2 videos are not there']
    for text in ('a,b\n1,2\n', 'youtube_id,time_start,time_end\nx,one,2\n'):
        listing.write_text(text)
        with pytest.raises(UserError, match='not a Kinetics csv file'):
            open_recordings('kinetics', tmp_path, annotations=listing)
    listing.write_text('youtube_id,time_start,time_end\nx,1,2\n')
    with pytest.raises(UserError, match='lists none of the 3 videos'):
        open_recordings('kinetics', tmp_path, annotations=listing)


def test_kinetics_without_the_excluded(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Videos and folders of frames are left out by class and name; what is not there is told."""
    video = write_video(tmp_path / 'videos' / 'train' / 'luge' / 'a.b_000014_000024.mp4', 3)
    for name in ('luge/kept_000000_000010.mp4', 'zumba/a.b_000014_000024.mp4'):
        path = video.parents[1] / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(video.read_bytes())
    for name in ('luge/x_000014_000024', 'luge/kept_000000_000010'):
        write_image(tmp_path / 'frames' / 'train' / name / '000000_0.000000.jpg',
                    numbered_frame(0))
    exclude = ['luge/a.b_000014_000024.mp4', 'luge/x_000014_000024']
    with caplog.at_level(logging.WARNING, 'deltaworld_training.data'):
        videos, frames = (
            [Path(recording.name).with_suffix('').parts[-2:] for recording in open_recordings(
                'kinetics', tmp_path / kind, exclude=exclude)] for kind in ('videos', 'frames'))
    assert videos == [('luge', 'kept_000000_000010'), ('zumba', 'a.b_000014_000024')]
    assert frames == [('luge', 'kept_000000_000010')]
    assert caplog.text.count('1 of 2 videos to exclude are not there') == 2


def test_kinetics_as_folders_of_frames(tmp_path: Path):
    folder = tmp_path / 'train' / 'zumba' / '0_4uJ9hC5nQ_000001_000011'
    for number in range(20):
        write_image(folder / f'{number:06d}_{number / 25:.6f}.jpg', numbered_frame(number))
    [recording] = open_recordings('kinetics', tmp_path)
    np.testing.assert_allclose(recording.times(), np.arange(20) / 25)
    assert frame_numbers(recording.read([4, 19]).frames) == [4, 19]


def write_vspw(root: Path, video: str, frames: int, mask: bool = True) -> Path:
    for number in range(frames):
        name = f'{number + 3:08d}'
        write_image(root / 'data' / video / 'origin' / f'{name}.jpg', numbered_frame(number, SIZE))
        if mask:
            write_image(root / 'data' / video / 'mask' / f'{name}.png',
                        np.full(SIZE[::-1], number + 1, np.uint8))
    return root / 'data' / video


def test_vspw(tmp_path: Path):
    write_vspw(tmp_path, '0_a', 45)
    write_vspw(tmp_path, '1_b', 20)
    write_vspw(tmp_path, '2_c', 12, mask=False)
    (tmp_path / 'train.txt').write_text('1_b\n')
    (tmp_path / 'val.txt').write_text('0_a\n1_b\n')
    (tmp_path / 'test.txt').write_text('2_c\n')
    [recording] = open_recordings('vspw', tmp_path)
    np.testing.assert_allclose(recording.times(), np.arange(20) / 15)
    clip = recording.read([2, 19])
    assert frame_numbers(clip.frames) == [2, 19] and clip.frames.shape[1:3] == SIZE[::-1]
    assert (clip.labels[0] == 2).all() and (clip.labels[1] == 19).all()
    [unlabelled] = open_recordings('vspw', tmp_path, split='test')
    assert unlabelled.read([0, 1]).labels is None

    windows = open_windows('vspw', tmp_path)
    assert [window.indices.tolist() for window in windows] == [
        [1, 4, 7, 10, 13, 16, 19], [21, 24, 27, 30, 33, 36, 39], [1, 4, 7, 10, 13, 16, 19]]
    clip = read_window(windows[1])
    assert frame_numbers(clip.frames) == windows[1].indices.tolist()
    np.testing.assert_allclose(clip.times - clip.times[0], 0.2 * np.arange(7))
    assert [int(labels[0, 0]) for labels in clip.labels] == windows[1].indices.tolist()


def test_labels_of_vspw():
    mask = np.array([[0, 1, 2, 124, 125, 254, 255]], np.uint8)
    np.testing.assert_array_equal(train_labels(mask), [[255, 0, 1, 123, 255, 255, 255]])


def test_names_of_vspw_come_from_the_data_set(tmp_path: Path):
    path = tmp_path / 'label_num_dic_final.json'
    path.write_text(json.dumps({'others': 0, **{f'class {n}': n for n in range(1, 125)}}))
    assert class_names(tmp_path) == [f'class {n}' for n in range(1, 125)]
    path.write_text('{"others": 0, "wall": 1}')
    with pytest.raises(UserError, match='not the names of the 124 classes'):
        class_names(tmp_path)


def test_broken_files_of_vspw_are_named(tmp_path: Path):
    video = write_vspw(tmp_path, 'a', 30)
    whole = write_vspw(tmp_path, 'b', 30)
    (tmp_path / 'val.txt').write_text('a\nmissing\nb\n')
    recordings = open_recordings('vspw', tmp_path, split='val')
    truncate(video / 'mask' / f'{13:08d}.png')
    (video / 'mask' / f'{14:08d}.png').unlink()
    write_image(video / 'mask' / f'{15:08d}.png', np.zeros((5, 5), np.uint8))
    write_image(video / 'mask' / f'{16:08d}.png', np.zeros(SIZE[::-1], np.uint16))
    write_image(video / 'mask' / f'{17:08d}.png', np.zeros((*SIZE[::-1], 3), np.uint8))
    for number in range(13, 18):
        with pytest.raises(UserError, match=f'{number:08d}.png: '):
            recordings[0].read([0, number - 3])
    source = SampledClips(recordings, RandomOffsets(), RandomResizedCrop(), (8, 8), 20, 0)
    assert all(source.clip(index).labels.shape == (8, 8, 8) for index in range(20))
    assert str(tmp_path / 'data' / 'missing' / 'origin') in source.problems.reasons
    problems = Problems()
    windows = open_windows('vspw', tmp_path, problems=problems)
    assert {window.recording.name for window in windows} == {str(video), str(whole)}
    assert len(problems) == 1


def write_cityscapes(root: Path, city: str, first: int, split: str = 'val', count: int = 30,
                     sequence: str = '000000', fx: float | None = 2262.52) -> None:
    def path(kind: str, number: int, ending: str) -> Path:
        return root / kind / split / city / f'{city}_{sequence}_{number:06d}_{ending}'
    for index in range(count):
        write_image(path('leftImg8bit_sequence', first + index, 'leftImg8bit.png'),
                    numbered_frame(index, SIZE))
    labels = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE[::-1]) % 34
    write_image(path('gtFine', first + 19, 'gtFine_labelIds.png'), labels.astype(np.uint8))
    write_image(path('gtFine', first + 19, 'gtFine_instanceIds.png'), labels.astype(np.uint16))
    if fx is not None:
        camera = path('camera', first + 19, 'camera.json')
        camera.parent.mkdir(parents=True, exist_ok=True)
        camera.write_text(json.dumps({'intrinsic': {'fx': fx, 'fy': fx, 'u0': 1, 'v0': 2}}))


def test_cityscapes(tmp_path: Path):
    write_cityscapes(tmp_path, 'frankfurt', 275)
    write_cityscapes(tmp_path, 'frankfurt', 305)
    write_cityscapes(tmp_path, 'frankfurt', 557, sequence='000001', fx=None)
    write_cityscapes(tmp_path, 'munster', 0)
    snippets = open_recordings('cityscapes', tmp_path, split='val')
    assert [(s.city, s.sequence, s.first, s.count) for s in snippets] == [
        ('frankfurt', '000000', 275, 30), ('frankfurt', '000000', 305, 30),
        ('frankfurt', '000001', 557, 30), ('munster', '000000', 0, 30)]
    snippet = snippets[1]
    np.testing.assert_allclose(snippet.times(), np.arange(30) / 16)
    clip = snippet.read([3, 19])
    assert frame_numbers(clip.frames) == [3, 19] and clip.focal_length == 2262.52
    assert (clip.labels[0] == 255).all()
    ids = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE[::-1]) % 34
    # The 19 classes of the benchmark by their label ids, in the order of their train ids.
    for train, label in enumerate(
            [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]):
        assert (clip.labels[1][ids == label] == train).all()
    assert (clip.labels[1] != 255).sum() == np.isin(
        ids, [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]).sum()
    assert snippets[2].read([0]).focal_length is None

    windows = open_windows('cityscapes', tmp_path)
    assert [window.indices.tolist() for window in windows] == [[1, 4, 7, 10, 13, 16, 19]] * 4
    clip = read_window(windows[0])
    np.testing.assert_allclose(clip.times - clip.times[0], 0.1875 * np.arange(7))
    assert (clip.labels[:6] == 255).all() and (clip.labels[6] != 255).any()


def test_the_classes_of_cityscapes():
    assert len(CLASSES) == 19 and len({entry.color for entry in CLASSES}) == 19
    assert [CLASSES[n].name for n in (0, 10, 13, 18)] == ['road', 'sky', 'car', 'bicycle']


def test_parts_of_cityscapes(tmp_path: Path):
    write_cityscapes(tmp_path, 'jena', 90, count=12, fx=None)
    write_cityscapes(tmp_path, 'jena', 110, count=10, fx=None)
    snippets = open_recordings('cityscapes', tmp_path, split='val')
    assert [(s.first, s.count) for s in snippets] == [(90, 12), (110, 10)]
    with pytest.raises(UserError, match='no window of the cityscapes benchmark'):
        open_windows('cityscapes', tmp_path)
    # Without ground truth on disk a clip has none; with it, always.
    assert snippets[0].read([0]).labels.shape == (1, *SIZE[::-1])
    write_cityscapes(tmp_path / 'bare', 'jena', 0)
    for file in sorted((tmp_path / 'bare' / 'gtFine').rglob('*'), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    [snippet] = open_recordings('cityscapes', tmp_path / 'bare', split='val')
    assert snippet.read([0]).labels is None
    write_cityscapes(tmp_path / 'broken', 'jena', 0)
    next((tmp_path / 'broken' / 'camera').rglob('*.json')).write_text('{}')
    [snippet] = open_recordings('cityscapes', tmp_path / 'broken', split='val')
    with pytest.raises(UserError, match='camera.json: no camera of Cityscapes'):
        snippet.read([0])


DATE, DRIVE = '2011_09_26', '2011_09_26_drive_0002_sync'
KITTI_SIZE = (1242, 375)


def write_kitti(root: Path, frames: int, depth: bool = True) -> Path:
    """Write a drive whose frames have a grey level for their number and a marked corner."""
    camera = root / DATE / DRIVE / 'image_02'
    for number in range(frames):
        frame = numbered_frame(number, KITTI_SIZE)
        frame[375 - 352, 13] = 255
        write_image(camera / 'data' / f'{number:010d}.png', frame)
        if depth and 5 <= number < frames - 5:
            stored = np.zeros(KITTI_SIZE[::-1], np.uint16)
            stored[200:210] = 256 * number + 128
            write_image(root / 'train' / DRIVE / 'proj_depth' / 'groundtruth' / 'image_02'
                        / f'{number:010d}.png', stored)
    (camera / 'timestamps.txt').write_text(''.join(
        f'2011-09-26 13:02:{25 + 0.1035 * number:012.9f}\n' for number in range(frames)))
    (root / DATE / 'calib_cam_to_cam.txt').write_text(
        'calib_time: 09-Jan-2012 13:57:47\ncorner_dist: 9.950000e-02\n'
        'P_rect_01: 7.1e+02 0 6.0e+02 0 0 7.2e+02 1.7e+02 0 0 0 1 0\n'
        'P_rect_02: 7.215377e+02 0.0e+00 6.095593e+02 4.485728e+01 0 7.2e+02 1.7e+02 0 0 0 1 0\n')
    return camera


@pytest.fixture(scope='module')
def kitti(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('kitti')
    write_kitti(root, 28)
    return root


def test_kitti(kitti: Path):
    [drive] = open_recordings('kitti', kitti)
    np.testing.assert_allclose(drive.times(), 0.1035 * np.arange(28), atol=1e-8)
    clip = drive.read([0, 9])
    np.testing.assert_allclose(clip.times, [0.0, 9 * 0.1035], atol=1e-8)
    assert clip.frames.shape == (2, 352, 1216, 3) and frame_numbers(clip.frames) == [0, 9]
    assert (clip.frames[:, 0, 0] == 255).all() and (clip.frames[:, 0, 1] != 255).all()
    assert clip.focal_length == pytest.approx(721.5377)
    # The annotation leaves out the first and last five frames.
    assert np.isnan(clip.depth[0]).all()
    assert (clip.depth[1, 200 - 23:210 - 23] == 9.5).all()
    assert np.isfinite(clip.depth[1]).sum() == 10 * 1216


def test_windows_of_eigens_split(kitti: Path, tmp_path: Path):
    split = tmp_path / 'eigen.txt'
    image = f'{DATE}/{DRIVE}/image_02/data'
    depth = f'{DRIVE}/proj_depth/groundtruth/image_02'
    split.write_text(
        f'{image}/0000000021.png {depth}/0000000021.png 721.5377\n'
        f'{image}/0000000022.png None 721.5377\n'
        f'{image}/0000000018.png {depth}/0000000018.png 721.5377\n'
        f'{image}/0000000040.png {depth}/0000000040.png 721.5377\n'
        '2011_09_28/2011_09_28_drive_0002_sync 0000000030 l\n')
    assert read_split(split) == [
        (DRIVE, 21), (DRIVE, 18), (DRIVE, 40), ('2011_09_28_drive_0002_sync', 30)]
    problems = Problems()
    [window] = open_windows('kitti', kitti, split_file=split, problems=problems)
    assert window.indices.tolist() == [9, 11, 13, 15, 17, 19, 21]
    assert list(problems.reasons.values()) == [
        f'{kitti}/{DATE}/{DRIVE}: frame 28 is not there']
    clip = read_window(window)
    # The benchmark counts 10 Hz, although the camera was a little slower.
    np.testing.assert_allclose(clip.times - clip.times[0], 0.2 * np.arange(7), atol=1e-9)
    assert frame_numbers(clip.frames) == window.indices.tolist()
    assert clip.focal_length == pytest.approx(721.5377)
    split.write_text('a line\n')
    with pytest.raises(UserError, match="line 'a line' names no drive"):
        read_split(split)


def test_the_scored_region_of_kitti():
    depth = np.full((2, 352, 1216), 20.0, np.float32)
    depth[0, 200, 600:610] = [np.nan, 0, 1e-3, 80, 81, 79.9, 1, np.inf, -1, 2e-3]
    mask = garg_mask(depth)
    rows, columns = np.flatnonzero(mask[1].any(1)), np.flatnonzero(mask[1].any(0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (143, 348, 43, 1171)
    assert mask[0, 200, 600:610].tolist() == [
        False, False, False, False, False, True, True, False, False, True]
    with pytest.raises(UserError, match='frames of 1000x375 pixels'):
        eigen_crop(np.zeros((1, 375, 1000, 3)))


def test_broken_files_of_kitti_are_named(tmp_path: Path):
    camera = write_kitti(tmp_path, 12)
    [drive] = open_recordings('kitti', tmp_path)
    depth = next(tmp_path.rglob('groundtruth')) / 'image_02' / f'{6:010d}.png'
    truncate(depth)
    assert drive.read([5]).depth is not None
    with pytest.raises(UserError, match=str(depth)):
        drive.read([5, 6])
    write_image(depth, np.zeros(KITTI_SIZE[::-1], np.uint8))
    with pytest.raises(UserError, match='depth map of uint8'):
        drive.read([6])
    (camera / 'timestamps.txt').write_text('2011-09-26 13:02:25.964389445\n')
    with pytest.raises(UserError, match=r'timestamps.txt: 1 times; there is a frame 11'):
        drive.times()
    (camera / 'timestamps.txt').unlink()
    with pytest.raises(UserError, match='timestamps.txt'):
        drive.times()


def test_clips_of_kitti_for_training(kitti: Path):
    recordings = open_recordings('kitti', kitti)
    source = SampledClips(recordings, RandomOffsets(), RandomResizedCrop(), (64, 32), 2, 0)
    clip = source.clip(0)
    assert clip.depth.shape == (8, 32, 64)
    numbers = np.array(frame_numbers(clip.frames))
    np.testing.assert_allclose(clip.times, (numbers - numbers[0]) * 0.1035, atol=1e-8)
    for number, depth in zip(numbers, clip.depth, strict=True):
        assert set(np.unique(depth[np.isfinite(depth)])) <= {number + 0.5}
