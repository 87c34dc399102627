# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Intersection over union and right pixels, of classes and of groups of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deltaworld_ros.bundle.semantic_class import SemanticClass
from deltaworld_ros.evaluate.pairs import Pair
from deltaworld_ros.evaluate.scorers.scorer import Sums, ratio

# Classes below this share of the true pixels are left out of `miou_common`.
COMMON_SHARE = 0.01
# Names in the class lists that this package knows, and their usual spellings.
VEHICLES = frozenset({
    'vehicle', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle', 'van', 'caravan',
    'trailer', 'wheeled_machine'})


class SegmentationScorer:
    """
    Counts pixels by class; a class counts alike whether it fills the picture or a few pixels.

    As in torchmetrics, a class that is forecast but never true counts 0 in the mean; one that is
    neither is left out.
    """

    name = 'segmentation'

    def __init__(self, classes: Sequence[SemanticClass]) -> None:
        self._names = [entry.name for entry in classes]
        groups = {
            'vehicle': [entry.name.lower() in VEHICLES for entry in classes],
            'obstacle': [entry.role == 'dynamic' for entry in classes]}
        self._groups = {name: np.array(members) for name, members in groups.items()
                        if any(members)}

    def measure(self, pair: Pair) -> Sums:
        """Return for each column right, forecast and true pixels (3, classes + groups)."""
        sums = {}
        for column, candidates in pair.columns.items():
            table = np.sum([
                one.weight * confusion(one.labels, pair.truth.labels, len(self._names))
                for one in candidates], axis=0)
            sums[column] = np.concatenate(
                [counts(table), *(group_counts(table, members)[:, None]
                                  for members in self._groups.values())], axis=1)
        return sums

    def scores(self, sums: Sums) -> dict[str, Any]:
        """Return mIoU, the same over common classes, right pixels, and IoU by class and group."""
        classes = {column: self._classes(one) for column, one in sums.items()}
        iou = {column: class_iou(one) for column, one in classes.items()}
        return {
            'miou': {column: float(mean_iou(one)) for column, one in classes.items()},
            'miou_common': {column: float(mean_iou(one, COMMON_SHARE))
                            for column, one in classes.items()},
            'pixel_accuracy': {column: float(pixel_accuracy(one))
                               for column, one in classes.items()},
            'class_iou': {
                name: {column: float(one[index]) for column, one in iou.items()}
                for index, name in enumerate(self._names)},
            'group_iou': {
                name: {column: float(class_iou(one)[len(self._names) + index])
                       for column, one in sums.items()}
                for index, name in enumerate(self._groups)},
        }

    def errors(self, sums: Sums) -> dict[str, dict[str, np.ndarray]]:
        """Return the share of wrong pixels."""
        return {'classes': {column: 1 - pixel_accuracy(self._classes(one))
                            for column, one in sums.items()}}

    def _classes(self, one: np.ndarray) -> np.ndarray:
        return one[..., :len(self._names)]


def confusion(predicted: np.ndarray, truth: np.ndarray, num_classes: int) -> np.ndarray:
    """
    Count pixels of two maps (a,b) of class ids by true and forecast class (C, C + 1).

    Pixels whose true label is no class are left out; the last column takes the forecast labels
    that are no class.
    """
    valid = truth < num_classes
    true, guess = truth[valid].astype(np.int64), predicted[valid].astype(np.int64)
    columns = num_classes + 1
    cells = np.bincount(true * columns + np.minimum(guess, num_classes),
                        minlength=num_classes * columns)
    return cells.reshape(num_classes, columns).astype(np.float64)


def counts(table: np.ndarray) -> np.ndarray:
    """Return right, forecast and true pixels of each class (3, C) of a table (C, C + 1)."""
    size = len(table)
    return np.stack([np.diag(table[:, :size]), table[:, :size].sum(0), table.sum(1)])


def group_counts(table: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return the counts (3,) of a group of classes taken as one; `members` (C,) is boolean."""
    forecast = table[:, :len(table)][:, members]
    return np.array([forecast[members].sum(), forecast.sum(), table[members].sum()])


def class_iou(one: np.ndarray) -> np.ndarray:
    """Return the IoU (..., C) of counts (..., 3, C), NaN for classes neither true nor forecast."""
    right, forecast, true = np.moveaxis(one, -2, 0)
    return ratio(right, forecast + true - right)


def mean_iou(one: np.ndarray, share: float = 0.0) -> np.ndarray:
    """Return the mean IoU (...) of the classes with more than `share` of the true pixels."""
    iou = class_iou(one)
    if share > 0:
        true = one[..., 2, :]
        iou = np.where(true > share * true.sum(-1, keepdims=True), iou, np.nan)
    known = np.isfinite(iou)
    return ratio(np.where(known, iou, 0.0).sum(-1), known.sum(-1))


def pixel_accuracy(one: np.ndarray) -> np.ndarray:
    """Return the share (...) of the labelled pixels whose class is right."""
    return ratio(one[..., 0, :].sum(-1), one[..., 2, :].sum(-1))
