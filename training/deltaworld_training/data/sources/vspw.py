# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
VSPW (video scene parsing in the wild, 124 classes): 15 Hz, every frame labelled.

https://github.com/VSPW-dataset/VSPW-dataset-download: `<root>/data/<video>/origin/*.jpg` and
`mask/*.png`, `<root>/{train,val,test}.txt` with the videos of a split. In a mask 0 is no class,
1 to 124 are the classes (here 0 to 123) and 255 is unlabelled.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deltaworld_ros.errors import UserError
from deltaworld_training.data.clip import Clip
from deltaworld_training.data.problems import BrokenFile, Problems
from deltaworld_training.data.recordings import UNLABELLED, Window
from deltaworld_training.data.sources.image_files import image_names, read_frames, read_map

RATE = 15.0
CLASSES = 124
# The benchmark: 0.2 s, that is 3 frames; every 20th frame is the last of a window.
STRIDE_FRAMES = 3
EVERY = 20
# Four frames of context, three of future.
REACH = 6 * STRIDE_FRAMES


@dataclass(frozen=True)
class VspwVideo:
    """One video of VSPW; without a folder `mask`, as in the test split, it has no labels."""

    folder: Path

    @property
    def name(self) -> str:
        """Return the folder."""
        return str(self.folder)

    def times(self) -> np.ndarray:
        """Return the time of every frame (F,) s."""
        return np.arange(len(image_names(self.folder / 'origin'))) / RATE

    def read(self, indices: Sequence[int]) -> Clip:
        """Decode these frames (F, h, w, 3) and their labels (F, h, w) of 0 to 123."""
        names = [image_names(self.folder / 'origin')[index] for index in indices]
        frames = read_frames(self.folder / 'origin' / name for name in names)
        labels = None
        if (self.folder / 'mask').is_dir():
            labels = np.stack([
                train_labels(self._mask(name, frames.shape[1:3])) for name in names])
        return Clip(frames, np.asarray(indices) / RATE, labels)

    def _mask(self, name: str, size: tuple[int, int]) -> np.ndarray:
        path = self.folder / 'mask' / f'{Path(name).stem}.png'
        mask = read_map(path, size)
        if mask.dtype != np.uint8:
            raise BrokenFile(path, f'a mask of {mask.dtype}; VSPW has uint8')
        return mask


def train_labels(mask: np.ndarray) -> np.ndarray:
    """Map a mask (uint8) to classes 0 to 123 and 255."""
    known = (mask >= 1) & (mask <= CLASSES)
    return np.where(known, mask - np.uint8(1), np.uint8(UNLABELLED)).astype(np.uint8)


def class_names(root: str | Path) -> list[str]:
    """Return the 124 names from the data set's own label_num_dic_final.json."""
    path = Path(root) / 'label_num_dic_final.json'
    try:
        numbers = {int(number): str(name) for name, number in json.loads(
            path.read_text()).items()}
        return [numbers[number] for number in range(1, CLASSES + 1)]
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise UserError(f'{path}: not the names of the 124 classes of VSPW: {error!r}') from None


def open_vspw(path: str | Path, split: str = 'train') -> list[VspwVideo]:
    """Return the videos that `<root>/<split>.txt` lists."""
    listing = Path(path) / f'{split}.txt'
    if not listing.is_file():
        raise UserError(f'{listing}: no such file; VSPW has train.txt, val.txt and test.txt')
    names = listing.read_text().split()
    return [VspwVideo(Path(path) / 'data' / name) for name in names]


def vspw_windows(
    path: str | Path, split: str = 'val', problems: Problems | None = None,
) -> list[Window]:
    """Return the benchmark's windows: frames 1, 4 .. 19, then 21, 24 .. 39 and so on."""
    problems = Problems() if problems is None else problems
    windows: list[Window] = []
    for video in open_vspw(path, split):
        try:
            frames = len(video.times())
        except BrokenFile as error:
            problems.add(video.name, error)
            continue
        windows += [
            Window(video, np.arange(last - REACH, last + 1, STRIDE_FRAMES))
            for last in range(EVERY - 1, frames, EVERY)]
    return windows
