# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which frames of a recording make a clip: the paper's random offsets, or a fixed stride."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from deltaworld_ros.errors import UserError

_DRAWS = 100


class Sampling(Protocol):
    """A way to choose the frames of a clip."""

    @property
    def frames(self) -> int:
        """Return the number of frames of a clip."""

    def draw(self, times: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return strictly increasing indices (frames,) into times (F,) s, or raise UserError."""


@dataclass(frozen=True)
class RandomOffsets:
    """
    The paper's sampling (appendix A): offsets between frames uniform in [1/25, 1/3] s.

    Each frame is the nearest to its drawn time and keeps its own timestamp. Drawn again are
    offsets that meet one frame twice, leave the recording, or span a gap in it.
    """

    frames: int = 8
    shortest: float = 1 / 25
    longest: float = 1 / 3

    def draw(self, times: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return strictly increasing indices (frames,) into times (F,) s, or raise UserError."""
        interval = frame_interval(times, self.frames)
        if interval > self.longest:
            raise UserError(
                f'frames are {interval:.3g} s apart; clips need at most {self.longest:.3g} s')
        for _ in range(_DRAWS):
            offsets = generator.uniform(self.shortest, self.longest, self.frames - 1)
            last = times[-1] - offsets.sum() + interval / 2
            starts = int(np.searchsorted(times, last, side='right'))
            # Drawn even where it cannot be used, so that every draw takes equally many numbers.
            start = int(generator.random() * starts)
            if starts == 0:
                continue
            wanted = times[start] + np.concatenate([[0.0], np.cumsum(offsets)])
            indices = nearest(times, wanted)
            steps = np.diff(times[indices])
            if (np.diff(indices) > 0).all() and (
                    np.abs(steps - offsets) <= 1.001 * interval).all():
                return indices
        raise UserError(
            f'{times[-1] - times[0]:.3g} s at {1 / interval:.3g} Hz give no clip of '
            f'{self.frames} frames {self.shortest:.3g} to {self.longest:.3g} s apart')


@dataclass(frozen=True)
class FixedStride:
    """Frames that are `stride` seconds apart, from a random start: context, then future."""

    stride: float
    frames: int = 7

    def draw(self, times: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return strictly increasing indices (frames,) into times (F,) s, or raise UserError."""
        windows = stride_windows(times, self.stride, self.frames)
        if not len(windows):
            raise UserError(
                f'{times[-1] - times[0]:.3g} s give no clip of {self.frames} frames '
                f'{self.stride:.4g} s apart')
        return windows[int(generator.integers(len(windows)))]


def stride_windows(times: np.ndarray, stride: float, frames: int) -> np.ndarray:
    """
    Return the indices (W, frames) of all windows whose frames are `stride` seconds apart.

    Every step is exact to half of the recording's frame interval; a window over a gap is none.
    """
    interval = frame_interval(times, frames)
    wanted = times[:, None] + stride * np.arange(frames)
    indices = nearest(times, wanted)
    exact = np.abs(times[indices] - wanted).max(1) <= 0.501 * min(interval, stride)
    return indices[exact & (np.diff(indices, axis=1) > 0).all(1)]


def frame_interval(times: np.ndarray, frames: int) -> float:
    """Return the typical seconds between frames; raise UserError for fewer than `frames`."""
    if len(times) < max(frames, 2):
        raise UserError(f'{len(times)} frames; a clip needs {max(frames, 2)}')
    return float(np.median(np.diff(times)))


def nearest(times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the indices of the times (F,) nearest to the wanted ones, of any shape."""
    middles = (times[1:] + times[:-1]) / 2
    return np.searchsorted(middles, wanted)
