# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Compare the samples of a row with all true futures of pasts of the street world."""

from pathlib import Path
from typing import Any

import numpy as np

from deltaworld_training.data.extractor import FeatureExtractor
from deltaworld_training.diversity.cache import build_futures, cached_futures
from deltaworld_training.diversity.evaluation import (
    FutureFeatures,
    PastFeatures,
    Samples,
    copy_last,
    measure,
    with_features,
)
from deltaworld_training.ladder.forecaster import RowForecaster
from deltaworld_training.ladder.settings import LadderSettings
from deltaworld_training.street.world import TEST_SEEDS


class TruePasts:
    """Pasts of the test split with the features of their true futures, made when first used."""

    def __init__(self, settings: LadderSettings, folder: Path, extractor: FeatureExtractor):
        """Take where the pasts are kept and what makes their features."""
        self.settings = settings
        self.folder = folder
        self.extractor = extractor
        self._sets: list[FutureFeatures] = []

    def score(self, forecaster: RowForecaster | None) -> dict[str, Any]:
        """Return the pooled scores of a row's samples, or of copy-last for None."""
        s = self.settings
        future = s.stride * np.arange(1, s.steps + 1)

        def sample(past: PastFeatures) -> Samples:
            if forecaster is None:
                return copy_last(past)
            return forecaster.sample(
                past.features, np.concatenate([past.times, future]), s.samples, seed=0)
        return measure(sample, self._load())

    def _load(self) -> list[FutureFeatures]:
        s = self.settings
        if not self._sets:
            build_futures(self.folder, s.diversity_pasts, (s.image.width, s.image.height),
                          TEST_SEEDS.start, s.workers)
            self._sets = list(with_features(
                cached_futures(self.folder, s.diversity_pasts), self.extractor.features))
        return self._sets
