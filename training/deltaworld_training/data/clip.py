# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The one form in which every data source hands out its frames."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

# Heads are trained on every fourth pixel of a row and of a column.
LABEL_STRIDE = 4


@dataclass(frozen=True)
class Clip:
    """
    Consecutive frames of one camera.

    Frames (F, h, w, 3) uint8 RGB; times (F,) seconds; class ids (F, h, w) uint8 or None, 255
    where unlabelled; depth (F, h, w) in metres along the optical axis or None, not finite where
    unknown; focal length in pixels of these frames, the geometric mean of both axes, or None;
    motion (F, 2) of the camera's vehicle, its mean speed forward in m/s and yaw rate in rad/s over
    the step that ends at each frame, or None.
    """

    frames: np.ndarray
    times: np.ndarray
    labels: np.ndarray | None = None
    depth: np.ndarray | None = None
    focal_length: float | None = None
    motion: np.ndarray | None = None


class ClipSource(Protocol):
    """Clips by index; the same index gives the same clip in every process."""

    def __len__(self) -> int:
        """Return the number of clips."""

    def clip(self, index: int) -> Clip:
        """Return one clip."""


def clip_times(generator: np.random.Generator, count: int, stride: float) -> np.ndarray:
    """
    Return the times of a clip's frames in seconds, starting at 0.

    Six clips of ten keep the model's stride exactly; the others vary each step by up to 40 %,
    as cameras do whose rate is no multiple of the stride.
    """
    steps = np.full(count - 1, stride)
    if generator.random() > 0.6:
        steps *= generator.uniform(0.6, 1.4, count - 1)
    return np.concatenate([[0.0], np.cumsum(steps)])
