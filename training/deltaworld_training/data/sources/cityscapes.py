# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Cityscapes: snippets of 30 frames, of which number 19 is labelled.

https://www.cityscapes-dataset.com and https://github.com/mcordts/cityscapesScripts:
`<root>/<type>/<split>/<city>/<city>_<sequence>_<frame>_<type>` with the types
leftImg8bit_sequence, gtFine (..._labelIds.png) and camera (.json). The cameras ran at 17 Hz; the
benchmark counts 16, so that its stride of 3 frames is 0.1875 s.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from deltaworld_ros.errors import UserError
from deltaworld_training.data.clip import Clip
from deltaworld_training.data.problems import BrokenFile
from deltaworld_training.data.recordings import UNLABELLED, Window
from deltaworld_training.data.sources.image_files import image_names, read_frames, read_map

RATE = 16.0
STRIDE_FRAMES = 3
# Four frames of context, three of future.
REACH = 6 * STRIDE_FRAMES
SNIPPET = 30
IMAGES, LABELS, CAMERA = 'leftImg8bit_sequence', 'gtFine', 'camera'

# The label id of each train id.
_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_TRAIN_IDS = np.full(256, UNLABELLED, np.uint8)
_TRAIN_IDS[list(_LABEL_IDS)] = np.arange(len(_LABEL_IDS))


@dataclass(frozen=True)
class CityscapesSnippet:
    """The frames `first` to `first + count - 1` of a sequence of a city."""

    root: Path
    split: str
    city: str
    sequence: str
    first: int
    count: int

    @property
    def name(self) -> str:
        """Return the path of the first frame."""
        return str(self._path(IMAGES, self.first, 'leftImg8bit.png'))

    def times(self) -> np.ndarray:
        """Return the time of every frame (F,) s, as the benchmark counts it."""
        return np.arange(self.count) / RATE

    def read(self, indices: Sequence[int]) -> Clip:
        """Decode these frames (F, h, w, 3), labels (F, h, w) of 19 classes, and focal length."""
        numbers = [self.first + index for index in indices]
        frames = read_frames(self._path(IMAGES, number, 'leftImg8bit.png') for number in numbers)
        labels = None
        if (self.root / LABELS / self.split).is_dir():
            labels = np.full(frames.shape[:3], UNLABELLED, np.uint8)
            for target, number in zip(labels, numbers, strict=True):
                path = self._path(LABELS, number, 'gtFine_labelIds.png')
                if path.is_file():
                    target[:] = _TRAIN_IDS[read_map(path, frames.shape[1:3])]
        return Clip(frames, np.asarray(indices) / RATE, labels, None, self.focal_length())

    def labelled(self) -> list[int]:
        """Return the indices of the frames with labels: number 19 in a whole snippet."""
        return [index for index in range(self.count) if self._path(
            LABELS, self.first + index, 'gtFine_labelIds.png').is_file()]

    def focal_length(self) -> float | None:
        """Return fx in pixels from the snippet's camera file, None where there is none."""
        for number in (self.first + 19, *range(self.first, self.first + self.count)):
            path = self._path(CAMERA, number, 'camera.json')
            if path.is_file():
                return _focal_length(path)
        return None

    def _path(self, kind: str, number: int, ending: str) -> Path:
        return self.root / kind / self.split / self.city / (
            f'{self.city}_{self.sequence}_{number:06d}_{ending}')


@lru_cache(maxsize=1024)
def _focal_length(path: Path) -> float:
    try:
        return float(json.loads(path.read_text())['intrinsic']['fx'])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenFile(path, f'no camera of Cityscapes: {error!r}') from None


def open_cityscapes(path: str | Path, split: str = 'train') -> list[CityscapesSnippet]:
    """Return the snippets of a split that are on disk, whole or not."""
    folder = Path(path) / IMAGES / split
    if not folder.is_dir():
        raise UserError(f'{folder}: no such folder; Cityscapes has <root>/{IMAGES}/<split>/<city>')
    return [
        CityscapesSnippet(Path(path), split, city.name, *snippet)
        for city in sorted(folder.iterdir()) if city.is_dir() for snippet in _snippets(city)]


def _snippets(city: Path) -> Iterator[tuple[str, int, int]]:
    """Yield sequence, first frame and count of every run of at most 30 consecutive frames."""
    found: dict[str, list[int]] = {}
    for name in image_names(city):
        parts = name.split('_')
        if len(parts) == 4 and parts[2].isdigit():
            found.setdefault(parts[1], []).append(int(parts[2]))
    for sequence, numbers in sorted(found.items()):
        start = 0
        for end in range(1, len(numbers) + 1):
            if (end == len(numbers) or numbers[end] != numbers[end - 1] + 1
                    or end - start == SNIPPET):
                yield sequence, numbers[start], end - start
                start = end


def cityscapes_windows(path: str | Path, split: str = 'val') -> list[Window]:
    """Return the benchmark's windows: frames 1, 4 .. 19 of each snippet; the last is labelled."""
    return [
        Window(snippet, np.arange(last - REACH, last + 1, STRIDE_FRAMES))
        for snippet in open_cityscapes(path, split)
        for last in snippet.labelled() if last >= REACH
    ]
