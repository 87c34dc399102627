# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
KITTI raw drives with the annotated depth maps of the depth benchmark.

https://www.cvlibs.net/datasets/kitti/raw_data.php and .../eval_depth_all.php:
`<root>/<date>/<date>_drive_<n>_sync/image_02/data/<frame>.png` and `.../timestamps.txt`,
`<root>/<date>/calib_cam_to_cam.txt`, and the depth, here or below another folder, at
`{train,val}/<date>_drive_<n>_sync/proj_depth/groundtruth/image_02/<frame>.png` (uint16, 1/256 m,
0 unknown; the first and last five frames of a drive have none).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from deltaworld_ros.errors import UserError
from deltaworld_training.data.clip import Clip
from deltaworld_training.data.problems import BrokenFile, Problems
from deltaworld_training.data.recordings import Window
from deltaworld_training.data.sources.image_files import image_names, read_frames, read_map
from deltaworld_training.data.sources.timestamps import check_increasing, read_timestamps

# Height and width of the crop of Eigen's split: the bottom centre of every frame.
EIGEN_CROP = (352, 1216)
# Top, bottom, left and right of the scored region, as shares of the crop's size.
GARG_REGION = (0.40810811, 0.99189189, 0.03594771, 0.96405229)
DEPTH_RANGE = (1e-3, 80.0)
NOMINAL_RATE = 10.0
STRIDE_FRAMES = 2
# Four frames of context, three of future.
REACH = 6 * STRIDE_FRAMES
# The release leaves out frames before this one; see `eigen_windows`.
FIRST_SCORED = 19
_DRIVE = re.compile(r'\d{4}_\d{2}_\d{2}_drive_\d{4}_sync')


@dataclass(frozen=True)
class KittiDrive:
    """
    The left colour camera of a drive.

    The times are those of timestamps.txt; with `nominal_times` 10 Hz, as the benchmark counts.
    Frames and depth are cut to Eigen's crop. Without a folder of annotated depth there is none.
    """

    root: Path
    drive: str
    depth_root: Path
    nominal_times: bool = False

    @property
    def name(self) -> str:
        """Return the folder of the drive."""
        return str(self._camera.parent)

    @property
    def _camera(self) -> Path:
        return self.root / self.drive[:10] / self.drive / 'image_02'

    def numbers(self) -> list[int]:
        """Return the numbers of the frames on disk."""
        names = image_names(self._camera / 'data')
        try:
            return [int(Path(name).stem) for name in names]
        except ValueError as error:
            raise BrokenFile(self._camera / 'data', f'not the frames of KITTI: {error}') from None

    def times(self) -> np.ndarray:
        """Return the time of every frame (F,) s."""
        numbers = self.numbers()
        if self.nominal_times:
            return np.array(numbers) / NOMINAL_RATE
        path = self._camera / 'timestamps.txt'
        stamps = read_timestamps(path)
        if numbers and numbers[-1] >= len(stamps):
            raise BrokenFile(path, f'{len(stamps)} times; there is a frame {numbers[-1]}')
        return check_increasing(path, stamps[numbers])

    def read(self, indices: Sequence[int]) -> Clip:
        """Decode these frames (F, 352, 1216, 3), depth (F, 352, 1216) m and focal length."""
        names = image_names(self._camera / 'data')
        paths = [self._camera / 'data' / names[index] for index in indices]
        frames = read_frames(paths)
        folder = self.depth_folder()
        depth = None if folder is None else eigen_crop(
            np.stack([self._depth(folder, path, frames.shape[1:3]) for path in paths]),
            self.name)
        return Clip(
            eigen_crop(frames, self.name), self.times()[list(indices)], None, depth,
            _focal_length(self.root / self.drive[:10] / 'calib_cam_to_cam.txt'))

    def depth_folder(self) -> Path | None:
        """Return the folder of the annotated depth, None where there is none."""
        for split in ('val', 'train'):
            folder = (self.depth_root / split / self.drive / 'proj_depth' / 'groundtruth'
                      / 'image_02')
            if folder.is_dir():
                return folder
        return None

    def _depth(self, folder: Path, frame: Path, size: tuple[int, int]) -> np.ndarray:
        path = folder / f'{frame.stem}.png'
        if not path.is_file():
            return np.full(size, np.nan, np.float32)
        stored = read_map(path, size)
        if stored.dtype != np.uint16:
            raise BrokenFile(path, f'a depth map of {stored.dtype}; KITTI has uint16')
        return np.where(stored == 0, np.nan, stored / 256.0).astype(np.float32)


def eigen_crop(images: np.ndarray, name: str = 'images') -> np.ndarray:
    """Return the bottom centre (F, 352, 1216, ...) of images (F, h, w, ...)."""
    height, width = images.shape[1:3]
    if height < EIGEN_CROP[0] or width < EIGEN_CROP[1]:
        raise BrokenFile(name, f'frames of {width}x{height} pixels; the crop needs '
                               f'{EIGEN_CROP[1]}x{EIGEN_CROP[0]}')
    left = (width - EIGEN_CROP[1]) // 2
    return images[:, height - EIGEN_CROP[0]:, left:left + EIGEN_CROP[1]]


def garg_mask(depth: np.ndarray) -> np.ndarray:
    """Tell which pixels of depth maps (..., h, w) in Eigen's crop are scored: 1e-3 to 80 m."""
    height, width = depth.shape[-2:]
    top, bottom, left, right = GARG_REGION
    mask = np.zeros(depth.shape, bool)
    mask[..., int(top * height):int(bottom * height), int(left * width):int(right * width)] = True
    # A comparison with NaN, the unknown, is false.
    return mask & (depth > DEPTH_RANGE[0]) & (depth < DEPTH_RANGE[1])


@lru_cache(maxsize=16)
def _focal_length(path: Path) -> float:
    try:
        for line in path.read_text().splitlines():
            key, _, values = line.partition(':')
            if key == 'P_rect_02':
                return float(values.split()[0])
    except (OSError, ValueError, IndexError) as error:
        raise BrokenFile(path, error) from None
    raise BrokenFile(path, 'there is no P_rect_02 in it')


def read_split(path: str | Path) -> list[tuple[str, int]]:
    """
    Return drive and frame of every line of a list of Eigen's split.

    Both common forms are read: `<date>/<drive>/image_02/data/<frame>.png <depth or None> <focal>`
    and `<date>/<drive> <frame> l`. Lines without a depth map (None) are left out.
    """
    path = Path(path)
    found = []
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'{path}: not a readable list of frames: {error}') from None
    for line in lines:
        words = line.split()
        if not words or words[1:2] == ['None']:
            continue
        drive = _DRIVE.search(words[0])
        stem = Path(words[0]).stem if Path(words[0]).suffix else ''.join(words[1:2])
        if not drive or not stem.isdigit():
            raise UserError(f'{path}: line {line[:80]!r} names no drive and frame of KITTI')
        found.append((drive[0], int(stem)))
    return found


def open_kitti(
    path: str | Path, depth: str | Path | None = None, split_file: str | Path | None = None,
    nominal_times: bool = False,
) -> list[KittiDrive]:
    """Return every drive below `path`, or those that a list of Eigen's split names."""
    path = Path(path)
    if split_file:
        names = sorted({drive for drive, _ in read_split(split_file)})
    else:
        names = sorted(folder.parent.name for folder in path.glob('*/*_sync/image_02'))
    if not names:
        raise UserError(f'{path}: no drives; KITTI has <date>/<date>_drive_<n>_sync/image_02')
    return [KittiDrive(path, name, Path(depth or path), nominal_times) for name in names]


def eigen_windows(
    path: str | Path, split_file: str | Path, depth: str | Path | None = None,
    problems: Problems | None = None,
) -> list[Window]:
    """
    Return the windows of the benchmark: every second frame, 12 before the listed one up to it.

    As in the released evaluation, listed frames before number 19, and those of drives without
    annotated depth, are left out.
    """
    drives = {drive.drive: drive for drive in open_kitti(path, depth, split_file, True)}
    problems = Problems() if problems is None else problems
    windows = []
    for name, frame in read_split(split_file):
        drive = drives[name]
        if frame < FIRST_SCORED or drive.depth_folder() is None:
            continue
        try:
            windows.append(_window(drive, frame))
        except BrokenFile as error:
            problems.add(drive.name, error)
    return windows


def _window(drive: KittiDrive, last: int) -> Window:
    wanted = np.arange(last - REACH, last + 1, STRIDE_FRAMES)
    positions = {number: index for index, number in enumerate(drive.numbers())}
    missing = [number for number in wanted.tolist() if number not in positions]
    if missing:
        raise BrokenFile(drive.name, f'frame {missing[0]} is not there')
    return Window(drive, np.array([positions[number] for number in wanted.tolist()]))
