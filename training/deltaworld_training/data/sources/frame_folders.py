# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Folders of JPEG or PNG frames: one recording a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deltaworld_ros.errors import UserError
from deltaworld_training.data.clip import Clip
from deltaworld_training.data.problems import BrokenFile
from deltaworld_training.data.sources.image_files import (
    IMAGE_SUFFIXES,
    image_names,
    read_frames,
)
from deltaworld_training.data.sources.timestamps import (
    check_increasing,
    name_times,
    numbered_times,
    read_timestamps,
)

TIMESTAMPS = 'timestamps.txt'


@dataclass(frozen=True)
class FrameFolder:
    """
    The images of a folder in the order of their numbers.

    Their times come from their numbers and `rate` (Hz) where it is given, else from timestamps.txt
    in the folder or beside it, else from file names that are times.
    """

    folder: Path
    rate: float | None = None

    @property
    def name(self) -> str:
        """Return the folder."""
        return str(self.folder)

    def times(self) -> np.ndarray:
        """Return the time of every image (F,) s."""
        names = image_names(self.folder)
        if self.rate:
            return numbered_times(names, self.rate)
        for path in (self.folder / TIMESTAMPS, self.folder.parent / TIMESTAMPS):
            if path.is_file():
                times = read_timestamps(path)
                if len(times) != len(names):
                    raise BrokenFile(path, f'{len(times)} times for {len(names)} images')
                return check_increasing(path, times)
        named = name_times(names)
        if named is None:
            raise UserError(
                f'{self.folder}: give the rate (Hz) of these frames: there is no {TIMESTAMPS}, '
                'and the file names are no times')
        return check_increasing(self.folder, named)

    def read(self, indices: Sequence[int]) -> Clip:
        """Decode these frames (F, h, w, 3)."""
        names = image_names(self.folder)
        frames = read_frames(self.folder / names[index] for index in indices)
        return Clip(frames, self.times()[list(indices)])


def open_frame_folders(path: str | Path, rate: float | None = None) -> list[FrameFolder]:
    """Return every folder at or below `path` that holds images."""
    path = Path(path)
    if rate is not None and not rate > 0:
        raise UserError(f'rate {rate}: must be positive (Hz)')
    folders = sorted({
        item.parent for item in path.rglob('*') if item.suffix.lower() in IMAGE_SUFFIXES})
    if not folders:
        raise UserError(f'{path}: no folder with images ({", ".join(IMAGE_SUFFIXES)})')
    return [FrameFolder(folder, rate) for folder in folders]
