# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every data source is made of: recordings of one camera, read frame by frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from deltaworld_training.data.clip import Clip

UNLABELLED = 255


class Recording(Protocol):
    """
    One uninterrupted recording of one camera, on disk: a video, a folder of frames, a bag.

    A recording opens nothing before it is asked, holds no frames, and can be sent to another
    process. What is broken raises `UserError` (or `OSError`) in one line that names the file.
    """

    @property
    def name(self) -> str:
        """Return the file or folder, for messages."""

    def times(self) -> np.ndarray:
        """Return the time of every frame (F,) float64 in seconds, strictly increasing."""

    def read(self, indices: Sequence[int]) -> Clip:
        """
        Return these frames, in increasing order, at their native size and with their own times.

        A recording with labels gives them for every clip, 255 in frames that have none; depth
        likewise, NaN where unknown. Maps have the size of the frames.
        """


@dataclass(frozen=True)
class Window:
    """The frames (F,) of a recording on which an evaluation forecasts: context, then future."""

    recording: Recording
    indices: np.ndarray
