# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Score sampled futures on the test split: best and mean, as in the paper's appendix B."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deltaworld_ros.bundle.class_lists import STREET as CLASSES
from deltaworld_ros.evaluate.scorers.depth import rmse
from deltaworld_ros.evaluate.scorers.segmentation import confusion, counts, mean_iou
from deltaworld_ros.forecast.differences import depth_sums
from deltaworld_training.data.feature_store import FeatureStore
from deltaworld_training.ladder.settings import DEPTH_MAXIMUM, DEPTH_MINIMUM, LadderSettings
from deltaworld_training.stages.heads import as_maps
from deltaworld_training.stages.losses import smooth_l1

# So many values of sampled features exist at once.
VALUES = 20_000_000

# Past (B, T, N, D), times (B, T + S) and true future (B, S, N, D) give futures (B, M, S, N, D).
Futures = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass
class Scores:
    """Sums over the test split of one way to forecast at one horizon."""

    labels: np.ndarray = field(default_factory=lambda: np.zeros((3, len(CLASSES))))
    depth: np.ndarray = field(default_factory=lambda: np.zeros(4))
    squared: float = 0.0
    copied: float = 0.0

    def result(self) -> dict[str, float]:
        """Return mIoU, depth RMSE in metres and the feature error relative to copy-last."""
        return {'miou': float(mean_iou(self.labels)), 'depth_rmse': float(rmse(self.depth)),
                'feature_error': self.squared / self.copied}


class Evaluator:
    """The test split with its true labels and depth, and the heads that all rows share."""

    def __init__(
        self, settings: LadderSettings, store: FeatureStore, segmentation: Any, depth: Any,
        device: torch.device,
    ):
        """Take the heads, trained on true features; every clip of the store is one test."""
        self.settings = settings
        self.store = store
        self.segmentation = segmentation.to(device)
        self.depth = depth.to(device)
        self.device = device
        # The first step and the last: 0.2 s and 0.6 s with the paper's stride and steps.
        self.horizons = {'short': 0, 'mid': settings.steps - 1}

    @torch.no_grad()
    def score(self, futures: Futures, counts: Sequence[int]) -> dict[str, Any]:
        """
        Return the scores by number of samples, horizon and 'best' or 'mean'.

        The best sample has the least smooth-L1 error of its features at that horizon; the mean
        is the heads' answer on the average of the samples' features. Fewer samples than were
        drawn are the first ones of them.
        """
        s = self.settings
        clips = self.store.clips
        sums = {
            (count, horizon, kind): Scores() for count in counts for horizon in self.horizons
            for kind in ('best', 'mean')}
        frame = self.store.features.shape[2] * self.store.features.shape[3]
        batch = max(1, VALUES // (max(counts) * s.steps * frame))
        for begin in range(0, len(clips), batch):
            chosen = clips[begin:begin + batch]
            features = torch.from_numpy(self.store.features[chosen]).to(self.device).float()
            times = torch.from_numpy(self.store.times[chosen]).to(self.device)
            past, true = features[:, :s.context], features[:, s.context:]
            sampled = futures(past, times, true)
            for horizon, step in self.horizons.items():
                at = sampled[:, :, step].float()
                errors = smooth_l1(at, true[:, None, step]).mean((2, 3))
                copied = (past[:, -1] - true[:, step]).square().mean((1, 2))
                for count in counts:
                    best = errors[:, :count].argmin(1)
                    for kind, answer in (
                            ('best', at[torch.arange(len(at), device=self.device), best]),
                            ('mean', at[:, :count].mean(1))):
                        self._add(sums[count, horizon, kind], answer, true[:, step], copied,
                                  chosen, s.context + step)
        result: dict[str, Any] = {}
        for (count, horizon, kind), scores in sums.items():
            result.setdefault(str(count), {}).setdefault(horizon, {})[kind] = scores.result()
        return result

    def _add(
        self, scores: Scores, answer: Tensor, true: Tensor, copied: Tensor, clips: np.ndarray,
        frame: int,
    ) -> None:
        labels, depth = self.maps(answer)
        for index, clip in enumerate(clips):
            scores.labels += counts(
                confusion(labels[index], self.store.labels[clip, frame], len(CLASSES)))
            scores.depth += depth_sums(
                depth[index], self.store.depth[clip, frame].astype(np.float32), DEPTH_MINIMUM,
                DEPTH_MAXIMUM)
        scores.squared += float((answer - true).square().mean((1, 2)).sum())
        scores.copied += float(copied.sum())

    def maps(self, features: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return class ids (B, a, b) and depth (B, a, b) in metres of features (B, N, D)."""
        maps, size = as_maps(features, self.settings.grid), self.store.labels.shape[2:]
        logits = F.interpolate(self.segmentation(maps), size=size, mode='bilinear')
        depth = F.interpolate(self.depth(maps), size=size, mode='bilinear')[:, 0]
        return logits.argmax(1).cpu().numpy(), depth.cpu().numpy()


def copy_last(past: Tensor, times: Tensor, true: Tensor) -> Tensor:
    """Forecast that nothing changes."""
    return past[:, None, -1:].expand(-1, -1, true.shape[1], -1, -1)


def oracle(past: Tensor, times: Tensor, true: Tensor) -> Tensor:
    """Return the true future: what the heads reach on true features."""
    return true[:, None]
