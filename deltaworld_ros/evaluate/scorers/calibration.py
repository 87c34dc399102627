# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the confidence of a class is the share of the cases in which it comes true."""

from __future__ import annotations

from typing import Any

import numpy as np

from deltaworld_ros.evaluate.pairs import Pair
from deltaworld_ros.evaluate.scorers.scorer import Sums, ratio

_BINS = 'bins'


class CalibrationScorer:
    """Sorts labelled pixels into bins of equal width by their confidence."""

    name = 'calibration'

    def __init__(self, num_classes: int, bins: int = 10) -> None:
        self._num_classes, self._bins = num_classes, bins

    def measure(self, pair: Pair) -> Sums:
        """Return pixels, right pixels and summed confidence of each bin (3, bins)."""
        labelled = pair.truth.labels < self._num_classes
        right = pair.columns['fused'][0].labels == pair.truth.labels
        return {_BINS: reliability(pair.confidence[labelled], right[labelled], self._bins)}

    def scores(self, sums: Sums) -> dict[str, Any]:
        """Return the reliability diagram and the expected calibration error."""
        pixels, right, confidence = sums[_BINS]
        return {'confidence_calibration': {
            'error': float(calibration_error(sums[_BINS])),
            'confidence': ratio(confidence, pixels).tolist(),
            'accuracy': ratio(right, pixels).tolist(),
            'pixels': [int(count) for count in pixels],
        }}

    def errors(self, sums: Sums) -> dict[str, dict[str, np.ndarray]]:
        """Return nothing: copy-last has no confidence."""
        return {}


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> np.ndarray:
    """Return pixels, right pixels and summed confidence (3, bins) of confidences (n,) in 0..1."""
    index = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    return np.stack([np.bincount(index, weights, bins)
                     for weights in (None, right, confidence)]).astype(np.float64)


def calibration_error(one: np.ndarray) -> np.ndarray:
    """Return the mean over pixels of |confidence - accuracy| of their bin (ECE)."""
    pixels, right, confidence = np.moveaxis(one, -2, 0)
    return ratio(np.abs(confidence - right).sum(-1), pixels.sum(-1))
