# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Times of frames from files of timestamps and from file names."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deltaworld_training.data.problems import BrokenFile

# Digits of a whole number that can only be the time since 1970, and its unit.
_EPOCH_UNITS = {13: 1e-3, 16: 1e-6, 19: 1e-9}


def read_timestamps(path: Path) -> np.ndarray:
    """
    Read one time a line as seconds since the first: numbers (s), or dates as KITTI writes them.

    Whole numbers of 13, 16 or 19 digits are ms, us and ns since 1970.
    """
    try:
        lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenFile(path, error) from None
    if not lines:
        raise BrokenFile(path, 'it is empty')
    try:
        if ':' in lines[0]:
            stamps = np.array(lines, 'datetime64[ns]').astype(np.int64)
            return (stamps - stamps[0]) * 1e-9
        return _seconds(lines)
    except ValueError as error:
        raise BrokenFile(path, f'not a time a line: {error}') from None


def name_times(names: Sequence[str]) -> np.ndarray | None:
    """
    Read times from file names as seconds since the first; None where the names hold none.

    `1305031102.175304.png` and `frame_0.533.jpg` are seconds, whole numbers of 13, 16 or 19
    digits ms, us and ns since 1970; shorter ones are numbers of frames and no times.
    """
    texts = [re.split('[_-]', name.rpartition('.')[0])[-1] for name in names]
    if all(re.fullmatch(r'\d+\.\d+', text) for text in texts) or all(
            text.isdigit() and len(text) in _EPOCH_UNITS for text in texts):
        return _seconds(texts)
    return None


def numbered_times(names: Sequence[str], rate: float) -> np.ndarray:
    """
    Count seconds by the numbers at the ends of the names, `rate` (Hz) of them a second.

    So a frame that is missing leaves a gap. Names without numbers count by their position.
    """
    ends = [re.search(r'(\d+)\.\w+$', name) for name in names]
    numbers = np.array([int(end[1]) for end in ends if end], np.int64)
    if len(numbers) < len(names) or not (np.diff(numbers) > 0).all():
        numbers = np.arange(len(names))
    return (numbers - numbers[:1]) / rate


def check_increasing(path: str | Path, times: np.ndarray) -> np.ndarray:
    """Return the times, or raise BrokenFile where one is not above the one before."""
    wrong = np.flatnonzero(~(np.diff(times) > 0))
    if len(wrong):
        raise BrokenFile(path, f'the time of frame {wrong[0] + 1} is not after the one before')
    return times


def _seconds(texts: Sequence[str]) -> np.ndarray:
    unit = _EPOCH_UNITS.get(len(texts[0])) if texts[0].isdigit() else None
    if unit:
        # Whole numbers first: float64 resolves ns since 1970 to 256 ns only.
        stamps = np.array([int(text) for text in texts], np.int64)
        return (stamps - stamps[0]) * unit
    seconds = np.array([float(text) for text in texts])
    return seconds - seconds[0]
