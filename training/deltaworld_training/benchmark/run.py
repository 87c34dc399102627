# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Score networks on the windows of a benchmark."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.errors import UserError
from deltaworld_ros.export.converted_bundle import KITTI_FOCAL_LENGTH, KITTI_INPUT_HEIGHT
from deltaworld_ros.model.networks import Networks
from deltaworld_training.benchmark.forecasts import HORIZONS, WAYS, Forecasts
from deltaworld_training.benchmark.scores import DepthRmse, MeanIou, Score
from deltaworld_training.benchmark.square_crops import SquareCrops
from deltaworld_training.data.clip import Clip
from deltaworld_training.data.recordings import Window
from deltaworld_training.data.sources.kitti import garg_mask
from deltaworld_training.stages.heads import as_maps

CLASSES = {'vspw': 124, 'cityscapes': 19}
BENCHMARKS = (*CLASSES, 'kitti')


@dataclass(frozen=True)
class Subject:
    """What is scored: networks with the head of the benchmark, and the manifest they fit."""

    networks: Networks
    manifest: Manifest

    def check(self, benchmark: str) -> None:
        """Raise `UserError` where the networks cannot be scored on the benchmark."""
        m = self.manifest
        if m.image_width != m.image_height:
            raise UserError(
                f'bundle {m.name}: takes images of {m.image_width}x{m.image_height} pixels, the '
                'benchmark has square crops; convert or export it with --size 512')
        if m.context_length != 4:
            raise UserError(f'bundle {m.name}: has a context of {m.context_length} frames, the '
                            'benchmark has 4')
        classes = self.networks.segmentation.head.out_channels
        if benchmark in CLASSES and classes != CLASSES[benchmark]:
            raise UserError(
                f'bundle {m.name}: its segmentation head has {classes} classes, {benchmark} has '
                f'{CLASSES[benchmark]}; name the head with --head')


def run_benchmark(
    benchmark: str, subject: Subject, windows: Sequence[Window], *, samples: int = 20,
    seed: int = 0, advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """
    Return the score of every way of forecasting at both horizons; NaN becomes None.

    Noise depends on the seed, the window's place and the horizon alone.
    """
    subject.check(benchmark)
    forecasts = Forecasts(subject.networks, subject.manifest, samples)
    scores: dict[str, dict[str, Score]] = {
        horizon: {way: _score(benchmark, subject) for way in WAYS} for horizon in HORIZONS}
    for place, window in enumerate(windows):
        clip = window.recording.read(window.indices.tolist())
        height, width = clip.frames.shape[1:3]
        crops = SquareCrops(width, height, subject.manifest.image_width)
        features = forecasts.features(crops.frames(clip.frames))
        truth = _truth(benchmark, clip)
        for number, (horizon, steps) in enumerate(HORIZONS.items()):
            generator = np.random.default_rng((seed, place, number))
            last = forecasts.last(
                features, clip.times, steps,
                lambda shape, generator=generator: generator.standard_normal(  # type: ignore[misc]
                    shape, dtype=np.float32))
            for way, found in last.items():
                _add(scores[horizon][way], found, subject.manifest, crops, truth)
        advance()
    return {
        'benchmark': benchmark, 'bundle': subject.manifest.name, 'metric': _metric(scores),
        'windows': len(windows), 'side': subject.manifest.image_width,
        'samples': forecasts.samples, 'seed': seed,
        'horizons': {
            horizon: {way: value if math.isfinite(value := score.value()) else None
                      for way, score in by_way.items()}
            for horizon, by_way in scores.items()}}


def _score(benchmark: str, subject: Subject) -> Score:
    if benchmark in CLASSES:
        return MeanIou(subject.networks.segmentation, CLASSES[benchmark])
    m = subject.manifest
    # The heads of converted bundles know KITTI's own focal length; others are scaled to it.
    focal_length = KITTI_FOCAL_LENGTH * m.image_height / KITTI_INPUT_HEIGHT
    return DepthRmse(subject.networks.depth, focal_length / m.focal_length)


def _metric(scores: dict[str, dict[str, Score]]) -> str:
    return next(iter(next(iter(scores.values())).values())).metric


def _truth(benchmark: str, clip: Clip) -> np.ndarray:
    """Return the truth (h, w) of the last frame: labels, or depth that is NaN where not scored."""
    if benchmark == 'kitti':
        assert clip.depth is not None
        depth: np.ndarray = clip.depth[-1]
        return np.where(garg_mask(depth), depth, np.nan)
    if clip.labels is None:
        raise UserError(f'{benchmark}: the frames have no labels')
    labels: np.ndarray = clip.labels[-1]
    return labels


@torch.inference_mode()
def _add(score: Score, features: Tensor, manifest: Manifest, crops: SquareCrops,
         truth: np.ndarray) -> None:
    grid = (manifest.feature_rows, manifest.feature_columns)
    maps = crops.outputs(score.maps(as_maps(features, grid)), truth)
    for one, half in zip(maps, crops.halves(truth), strict=True):
        score.add(one, half)
