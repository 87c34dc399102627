# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One kind of score a file; all of them are listed here."""

from deltaworld_ros.bundle import Manifest
from deltaworld_ros.evaluate.scorers.calibration import CalibrationScorer
from deltaworld_ros.evaluate.scorers.depth import DepthScorer
from deltaworld_ros.evaluate.scorers.features import FeatureScorer
from deltaworld_ros.evaluate.scorers.obstacles import ObstacleScorer
from deltaworld_ros.evaluate.scorers.scorer import Scorer
from deltaworld_ros.evaluate.scorers.segmentation import SegmentationScorer
from deltaworld_ros.evaluate.scorers.weights import WeightScorer


def make_scorers(manifest: Manifest) -> list[Scorer]:
    """Return every scorer for a bundle's classes and range of depth."""
    return [
        FeatureScorer(),
        SegmentationScorer(manifest.classes),
        DepthScorer(manifest.depth_minimum, manifest.depth_maximum),
        ObstacleScorer(manifest.classes, manifest.depth_maximum),
        CalibrationScorer(len(manifest.classes)),
        WeightScorer(),
    ]
