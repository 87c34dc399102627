# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Two square crops of a frame and the halves of its labels (paper, appendix B)."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch.nn.functional as F
from torch import Tensor

from deltaworld_training.data.crops import MAX_ASPECT


@dataclass(frozen=True)
class SquareCrops:
    """
    How frames of `width` x `height` pixels become squares of `side` pixels, and squares labels.

    Frames shrink until the shorter side has `side` pixels; the first crop is at the left (or the
    top), the second at the right (or the bottom). Labels keep their size and are split in the
    middle, so that no pixel counts twice. A square frame is one crop.
    """

    width: int
    height: int
    side: int

    @property
    def resized(self) -> tuple[int, int]:
        """Return width and height of the resized frame."""
        scale = self.side / min(self.width, self.height)
        width, height = (min(round(one * scale), MAX_ASPECT * self.side)
                         for one in (self.width, self.height))
        return width, height

    @property
    def _is_wide(self) -> bool:
        width, height = self.resized
        return width > height

    @property
    def count(self) -> int:
        """Return the number of crops."""
        width, height = self.resized
        return 1 if width == height else 2

    def frames(self, frames: np.ndarray) -> np.ndarray:
        """Return the crops (crops, F, side, side, 3) of frames (F, h, w, 3), both uint8."""
        # Linear without antialiasing, as the release shrinks them.
        resized = np.stack([cv2.resize(frame, self.resized) for frame in frames])
        side = self.side
        corners = (resized[:, :side, :side], resized[:, -side:, -side:])
        return np.stack(corners[:self.count])

    def halves(self, labels: np.ndarray) -> list[np.ndarray]:
        """Return the part of labels (h, w) that each crop is scored on."""
        if self.count == 1:
            return [labels]
        height, width = labels.shape
        if self._is_wide:
            return [labels[:, :width // 2], labels[:, width // 2:]]
        return [labels[:height // 2], labels[height // 2:]]

    def outputs(self, maps: Tensor, labels: np.ndarray) -> list[Tensor]:
        """
        Resize each crop's maps (crops, C, rows, columns) linearly to its half of labels (h, w).

        Where the crops overlap, the part of each that its half does not show is cut off.
        """
        halves = self.halves(labels)
        # Where a side is odd, both maps have the size of the larger half.
        height, width = (max(half.shape[axis] for half in halves) for axis in (0, 1))
        long, short = max(self.resized), min(self.resized)
        if self.count == 1 or long >= MAX_ASPECT * short:
            full = F.interpolate(maps, (height, width), mode='bilinear')
        else:
            square = max(height, width)
            full = F.interpolate(maps, (square, square), mode='bilinear')
        result = []
        for number, (one, half) in enumerate(zip(full, halves, strict=True)):
            bottom, right = (0, 0) if number == 0 else (
                one.shape[1] - height, one.shape[2] - width)
            part = one[:, bottom:bottom + height, right:right + width]
            result.append(part[:, :half.shape[0], :half.shape[1]])
        return result
