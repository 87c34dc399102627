# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of label, depth and feature forecasts that are summed over many images."""

from __future__ import annotations

import numpy as np

UNLABELLED = 255


class SegmentationScore:
    """The confusion matrix of label maps, pooled over images, and what follows from it."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.confusion = np.zeros((num_classes, num_classes))
        self.missed = np.zeros(num_classes)

    def add(self, predicted: np.ndarray, truth: np.ndarray, weight: float = 1.0) -> None:
        """
        Count the pixels of one pair of maps, (h,w) integer class ids, `weight` times.

        Pixels whose true label is no class are left out; a predicted label that is no class
        counts as a miss of the true one.
        """
        valid = truth < self.num_classes
        true, guess = truth[valid].astype(np.int64), predicted[valid].astype(np.int64)
        # One column more than classes takes the predictions that are no class.
        guess = np.minimum(guess, self.num_classes)
        columns = self.num_classes + 1
        counts = np.bincount(true * columns + guess, minlength=self.num_classes * columns)
        table = counts.reshape(self.num_classes, columns)
        self.confusion += weight * table[:, :-1]
        self.missed += weight * table[:, -1]

    def class_iou(self) -> np.ndarray:
        """Return the intersection over union of each class, NaN for classes not in the truth."""
        hits = np.diag(self.confusion)
        present = self.confusion.sum(axis=1) + self.missed
        union = present + self.confusion.sum(axis=0) - hits
        return np.where(present > 0, hits / np.maximum(union, 1e-12), np.nan)

    def miou(self) -> float:
        """Return the mean of `class_iou` over the classes in the truth, NaN without any."""
        iou = self.class_iou()
        return float(np.nanmean(iou)) if np.isfinite(iou).any() else float('nan')

    def accuracy(self) -> float:
        """Return the share of the labelled pixels whose class is right."""
        total = self.confusion.sum() + self.missed.sum()
        return float(np.trace(self.confusion) / total) if total else float('nan')


class DepthScore:
    """Errors of depth maps in metres, pooled over the valid pixels of all images."""

    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum
        self.pixels = self.squared = self.relative = self.close = 0.0

    def add(self, predicted: np.ndarray, truth: np.ndarray, weight: float = 1.0) -> None:
        """Add one pair of maps (h,w); valid pixels have a finite truth in (minimum, maximum]."""
        with np.errstate(invalid='ignore'):
            valid = (truth > self.minimum) & (truth <= self.maximum)
        true = truth[valid].astype(np.float64)
        guess = np.maximum(predicted[valid].astype(np.float64), 1e-9)
        error = guess - true
        self.pixels += weight * true.size
        self.squared += weight * float(np.sum(error ** 2))
        self.relative += weight * float(np.sum(np.abs(error) / true))
        self.close += weight * np.count_nonzero(np.maximum(guess / true, true / guess) < 1.25)

    def rmse(self) -> float:
        """Return the root of the mean squared error in metres."""
        return float(np.sqrt(self.squared / self.pixels)) if self.pixels else float('nan')

    def absrel(self) -> float:
        """Return the mean of |error| / truth."""
        return self.relative / self.pixels if self.pixels else float('nan')

    def delta1(self) -> float:
        """Return the share of pixels that are within a factor of 1.25 of the truth."""
        return self.close / self.pixels if self.pixels else float('nan')


class FeatureScore:
    """Squared error of features relative to that of repeating the last frame's features."""

    def __init__(self) -> None:
        self.squared = self.copy_last = 0.0

    def add(self, squared: float, copy_last: float) -> None:
        """Add the mean squared errors of one forecast and of copy-last."""
        self.squared += squared
        self.copy_last += copy_last

    def relative(self) -> float:
        """Return the ratio of the sums; NaN where nothing changed, so copy-last has no error."""
        return self.squared / self.copy_last if self.copy_last > 0 else float('nan')


class ConfidenceScore:
    """How often a class given with some confidence came true: ten bins of confidence."""

    def __init__(self, bins: int = 10) -> None:
        self.pixels = np.zeros(bins)
        self.correct = np.zeros(bins)
        self.confidence = np.zeros(bins)

    def add(self, confidence: np.ndarray, correct: np.ndarray) -> None:
        """Add the pixels of one image: confidence in 0..1 and whether the class came true."""
        bins = self.pixels.size
        index = np.minimum((confidence * bins).astype(np.int64), bins - 1).ravel()
        self.pixels += np.bincount(index, minlength=bins)
        self.correct += np.bincount(index, correct.ravel(), minlength=bins)
        self.confidence += np.bincount(index, confidence.ravel(), minlength=bins)

    def calibration_error(self) -> float:
        """Return the mean over pixels of |confidence - accuracy| of their bin (ECE)."""
        total = self.pixels.sum()
        gap = np.abs(self.confidence - self.correct).sum()
        return float(gap / total) if total else float('nan')


def mean_squared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the mean squared difference over the last two axes (patches, features)."""
    return np.square(first - second).mean(axis=(-2, -1), dtype=np.float64)


def smooth_l1(first: np.ndarray, second: np.ndarray, beta: float = 0.1) -> np.ndarray:
    """
    Return the smooth-L1 distance averaged over the last two axes.

    This is the paper's distance for choosing the best of many samples.
    """
    gap = np.abs(first - second)
    loss = np.where(gap < beta, 0.5 * gap ** 2 / beta, gap - 0.5 * beta)
    return loss.mean(axis=(-2, -1), dtype=np.float64)
