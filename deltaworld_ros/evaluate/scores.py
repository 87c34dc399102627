# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sums of all scores over a drive, and the result that is printed and written as JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from deltaworld_ros.bundle import Manifest
from deltaworld_ros.evaluate.candidates import Candidate
from deltaworld_ros.evaluate.metrics import (
    ConfidenceScore,
    DepthScore,
    FeatureScore,
    SegmentationScore,
    mean_squared,
)


class ColumnScore:
    """The scores of one column of the table at one lead."""

    def __init__(self, manifest: Manifest) -> None:
        self.feature = FeatureScore()
        self.labels = SegmentationScore(len(manifest.classes))
        self.depth = DepthScore(manifest.depth_minimum, manifest.depth_maximum)


class LeadScore:
    """The scores of every column at one lead, and how far the futures differ."""

    def __init__(self, manifest: Manifest) -> None:
        self.columns: dict[str, ColumnScore] = {}
        self._manifest = manifest
        self.spread = FeatureScore()
        self.confidence = ConfidenceScore()
        self._class_names = [entry.name for entry in manifest.classes]

    def add(self, columns: dict[str, list[Candidate]], confidence: np.ndarray,
            true_features: np.ndarray, true_labels: np.ndarray, true_depth: np.ndarray,
            scale: float) -> None:
        """Add one forecast; true depth is in metres, the candidates' depth times `scale` too."""
        copy_last = float(mean_squared(columns['copy_last'][0].features, true_features))
        for name, candidates in columns.items():
            column = self.columns.setdefault(name, ColumnScore(self._manifest))
            squared = 0.0
            for one in candidates:
                squared += one.weight * float(mean_squared(one.features, true_features))
                column.labels.add(one.labels, true_labels, one.weight)
                column.depth.add(one.depth * scale, true_depth, one.weight)
            column.feature.add(squared, copy_last)
        mean = columns['fused'][0].features
        spread = sum(one.weight * float(mean_squared(one.features, mean))
                     for one in columns['mean_of_futures'])
        self.spread.add(spread, copy_last)
        labelled = true_labels < len(self._class_names)
        correct = columns['fused'][0].labels == true_labels
        self.confidence.add(confidence[labelled], correct[labelled])

    def result(self) -> dict[str, Any]:
        """Return the scores by metric and column."""
        columns = self.columns.items()
        bins = self.confidence
        return {
            'feature_error': {name: one.feature.relative() for name, one in columns},
            'miou': {name: one.labels.miou() for name, one in columns},
            'pixel_accuracy': {name: one.labels.accuracy() for name, one in columns},
            'depth_rmse': {name: one.depth.rmse() for name, one in columns},
            'depth_absrel': {name: one.depth.absrel() for name, one in columns},
            'depth_delta1': {name: one.depth.delta1() for name, one in columns},
            'class_iou': {
                label: {name: float(one.labels.class_iou()[index]) for name, one in columns}
                for index, label in enumerate(self._class_names)},
            'spread': self.spread.relative(),
            'confidence_calibration': {
                'error': bins.calibration_error(),
                'confidence': _ratios(bins.confidence, bins.pixels),
                'accuracy': _ratios(bins.correct, bins.pixels),
                'pixels': [int(count) for count in bins.pixels],
            },
        }


class WeightScore:
    """Whether a future's weight is the share of the cases in which it was the closest one."""

    def __init__(self) -> None:
        self._weights: list[np.ndarray] = []
        self._best: list[int] = []

    def add(self, weights: np.ndarray, best: int) -> None:
        """Add one forecast: weights (K,) in descending order and the index of the closest."""
        self._weights.append(weights)
        self._best.append(best)

    def result(self) -> dict[str, Any]:
        """Return for each place in the order the mean weight and the share of being closest."""
        if not self._best:
            return {'mean_weight': [], 'best_share': [], 'calibration_error': math.nan}
        weight = np.mean(self._weights, axis=0)
        share = np.bincount(self._best, minlength=weight.size) / len(self._best)
        return {
            'mean_weight': weight.tolist(),
            'best_share': share.tolist(),
            # Total variation: 0 where the weights are right, 1 where they are all wrong.
            'calibration_error': float(np.abs(weight - share).sum() / 2),
        }


def percentiles(values: list[float]) -> dict[str, float]:
    """Return the median and the 95th percentile, NaN without values."""
    if not values:
        return {'p50': math.nan, 'p95': math.nan}
    middle, high = np.percentile(values, [50, 95])
    return {'p50': float(middle), 'p95': float(high)}


def strict_json(value: Any) -> Any:
    """Return the value with NaN and infinities as None, which JSON can carry."""
    if isinstance(value, dict):
        return {key: strict_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [strict_json(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _ratios(sums: np.ndarray, counts: np.ndarray) -> list[float]:
    return [float(total / count) if count else math.nan
            for total, count in zip(sums, counts, strict=True)]
