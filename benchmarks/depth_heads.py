# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Train small depth heads that differ in bins and layers and compare them: tables of docs/quality.md.

Run as `python benchmarks/depth_heads.py RUN` after `deltaworld train features`, which caches
street clips in RUN/street. The last tenth of the clips is held out. Needs a CPU and a minute.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deltaworld_ros.bundle.class_lists import STREET
from deltaworld_ros.model.heads import DepthHead
from deltaworld_ros.model.networks import build_part
from deltaworld_training.data.feature_store import FeatureStore
from deltaworld_training.stages.heads import as_maps
from deltaworld_training.stages.losses import masked
from deltaworld_training.stages.optimizer import rate_factor

GRID = (12, 20)
STEPS, BATCH, RATE, WARM_UP = 500, 48, 2e-3, 30
CLIPS = 2500
FAR_ROAD = 25.0, 30.0   # m
ROAD = [number for number, one in enumerate(STREET) if one.name in ('road', 'lane_marking')]
LOG = {'minimum': 0.5, 'maximum': 80.0, 'spacing': 'log'}
HEADS: dict[str, dict[str, Any]] = {
    '64 evenly spaced bins': {'kind': 'linear', 'bins': 64},
    '32 in log depth': {'kind': 'linear', 'bins': 32, **LOG},
    '64 in log depth': {'kind': 'linear', 'bins': 64, **LOG},
    '128 in log depth': {'kind': 'linear', 'bins': 128, **LOG},
    '64 in log depth, convolutional': {
        'kind': 'convolutional', 'hidden': 192, 'bins': 64, **LOG},
}


def read(store: FeatureStore, clips: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Return features (n, D, rows, columns), depth and labels (n, a, b) of one frame a clip."""
    frames = np.random.default_rng(0).integers(0, store.features.shape[1], len(clips))
    arrays = [torch.from_numpy(np.stack([array[clip, frame] for clip, frame in zip(
        clips, frames, strict=True)])) for array in (store.features, store.depth, store.labels)]
    return as_maps(arrays[0].float(), GRID), arrays[1].float(), arrays[2].long()


def predict(head: DepthHead, maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return depth (n, a, b) in m of features (n, D, rows, columns)."""
    def resize(values: Tensor) -> Tensor:
        return F.interpolate(values, size=size, mode='bilinear')
    return head.resized(head(maps), resize)[:, 0]


def fit(head: DepthHead, maps: Tensor, depth: Tensor) -> None:
    """Train a head on the scale-free error of known depth."""
    size = (depth.shape[1], depth.shape[2])
    optimizer = torch.optim.AdamW(head.parameters(), RATE, weight_decay=1e-3)
    generator = np.random.default_rng(1)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group['lr'] = RATE * rate_factor('cosine', step, WARM_UP, STEPS)
        chosen = torch.from_numpy(generator.integers(0, len(maps), BATCH))
        true = depth[chosen]
        loss = masked('scale_free', predict(head, maps[chosen], size), true, known(true))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def known(depth: Tensor) -> Tensor:
    """Return where depth (n, a, b) is that of something near enough."""
    return depth.isfinite() & (depth > 0.0) & (depth < 80.0)


def main() -> None:
    """Train every head and print its row."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('run', type=Path, help='folder of the run')
    store = FeatureStore(parser.parse_args().run / 'street')
    clips = store.clips[::max(1, len(store.clips) // CLIPS)]
    held_out = len(clips) // 10
    maps, depth, _ = read(store, clips[:-held_out])
    test_maps, test_depth, labels = read(store, clips[-held_out:])
    sure = known(test_depth)
    far = sure & torch.isin(labels, torch.tensor(ROAD)) & (test_depth >= FAR_ROAD[0]) & (
        test_depth < FAR_ROAD[1])
    print(f'{len(maps)} clips to learn from, {len(test_maps)} to score\n\n'
          '| head | AbsRel | road at 25 to 30 m, predicted / true |\n|---|---:|---:|')
    for name, settings in HEADS.items():
        torch.manual_seed(0)
        head: Any = build_part(
            'depth', {'size': maps.shape[1], 'interpolation': 'inverse', **settings})
        fit(head.train(), maps, depth)
        with torch.no_grad():
            found = predict(head.eval(), test_maps, (labels.shape[1], labels.shape[2]))
        error = ((found - test_depth).abs() / test_depth)[sure].mean()
        print(f'| {name} | {error:.3f} | {(found / test_depth)[far].median():.2f} |', flush=True)


if __name__ == '__main__':
    main()
