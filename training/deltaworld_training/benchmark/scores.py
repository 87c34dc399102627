# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark's two metrics, from the maps of one crop at a time."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from deltaworld_ros.evaluate.scorers.depth import rmse
from deltaworld_ros.evaluate.scorers.segmentation import confusion, counts, mean_iou
from deltaworld_ros.forecast.differences import depth_sums
from deltaworld_training.data.sources.kitti import DEPTH_RANGE


class Score(Protocol):
    """Adds up crops; `metric` names the value and its unit."""

    metric: str

    def maps(self, features: Tensor) -> Tensor:
        """Return what the head makes of features (n, D, rows, columns), a map a channel."""
        ...

    def add(self, maps: Tensor, truth: np.ndarray) -> None:
        """Take in a head's maps (C, a, b) at the size of their truth (a, b)."""
        ...

    def value(self) -> float:
        """Return the score of everything so far; NaN where nothing was labelled."""
        ...


class MeanIou:
    """Mean IoU in percent over all pixels; a class predicted but absent counts 0."""

    metric = 'mIoU, %'

    def __init__(self, head: nn.Module, classes: int) -> None:
        self._head, self._classes = head, classes
        self._table = np.zeros((classes, classes + 1))

    def maps(self, features: Tensor) -> Tensor:
        """See `Score`: the classes' scores."""
        return self._head(features).float()

    def add(self, maps: Tensor, truth: np.ndarray) -> None:
        """See `Score`; pixels labelled 255 are left out."""
        labels = maps.argmax(0).to(torch.uint8).cpu().numpy()
        self._table += confusion(labels, truth, self._classes)

    def value(self) -> float:
        """See `Score`."""
        return 100 * float(mean_iou(counts(self._table)))


class DepthRmse:
    """RMSE in metres over all pixels with a truth; `scale` turns the head's output into metres."""

    metric = 'RMSE, m'

    def __init__(self, head: nn.Module, scale: float) -> None:
        self._head, self._scale = head, scale
        self._sums = np.zeros(4)

    def maps(self, features: Tensor) -> Tensor:
        """See `Score`: depth, one channel."""
        return self._head(features).float()

    def add(self, maps: Tensor, truth: np.ndarray) -> None:
        """See `Score`; NaN is unknown."""
        depth = self._scale * maps[0].cpu().numpy()
        self._sums += depth_sums(depth, truth, *DEPTH_RANGE)

    def value(self) -> float:
        """See `Score`."""
        return float(rmse(self._sums))
