# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From image and truth over features and heads to the published map: nothing moves."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deltaworld_ros.camera.map_resize import enlarge_map
from deltaworld_ros.export.graphs import DecodeGraph
from deltaworld_training.data.batches import ClipItems
from deltaworld_training.data.clip import Clip
from deltaworld_training.data.feature_store import build_store
from deltaworld_training.stages.heads import HeadsStage

HEIGHT, WIDTH = 64, 96
GRID = (HEIGHT // 16, WIDTH // 16)
INNER = slice(16, -16)   # beyond the outer cells' centres, maps cannot follow the picture


class CellMeans:
    """Features that sit exactly in the middle of their cells: the mean of the pixels."""

    grid = GRID
    stride = 16
    feature_size = 2

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Return the mean brightness of each cell, twice."""
        cells = frames[..., 0].reshape(len(frames), GRID[0], 16, GRID[1], 16).mean((2, 4)) / 255
        return np.repeat(cells.reshape(len(frames), -1, 1), 2, axis=2).astype(np.float32)


class Steps:
    """One frame a clip: dark and far up to a step, bright beyond; or a ramp of both."""

    def __init__(self, kind: str, along: int):
        """Take 'step' or 'ramp' and the axis along which the picture changes."""
        self.kind = kind
        self.along = along

    def __len__(self) -> int:
        """Return a clip for each pixel between the outer cells' centres."""
        return (HEIGHT, WIDTH)[self.along] - 32

    def clip(self, index: int) -> Clip:
        """Return the clip whose step is at pixel border 16 + `index`."""
        centres = np.arange((HEIGHT, WIDTH)[self.along]) + 0.5
        profile = centres > 16 + index if self.kind == 'step' else centres / 100
        picture = np.broadcast_to(
            profile[:, None] if self.along == 0 else profile[None], (HEIGHT, WIDTH))
        return Clip(
            frames=np.repeat(np.uint8(np.rint(255 * picture))[None, ..., None], 3, axis=3),
            times=np.zeros(1), labels=(picture > 0.5).astype(np.uint8)[None],
            depth=(10 + 20 * picture.astype(np.float32))[None], focal_length=50.0)


def trained_heads(arrays: dict[str, torch.Tensor]) -> HeadsStage:
    torch.manual_seed(0)
    stage = HeadsStage(
        GRID, {'kind': 'linear', 'size': 2, 'classes': 2},
        {'kind': 'linear', 'size': 2, 'bins': 8, 'minimum': 1.0, 'maximum': 40.0},
        depth_loss='scale_free', rate=0.0)
    stage.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    optimizer = torch.optim.Adam(stage.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 400)
    for _ in range(400):
        optimizer.zero_grad()
        stage.training_step(arrays, 0).backward()
        optimizer.step()
        schedule.step()
    return stage.eval()


# The cache is filled by a process of its own, which takes seconds to start.
@pytest.mark.parametrize(('kind', 'along', 'cached'), [
    ('step', 0, False), ('step', 1, False), ('ramp', 0, False), ('ramp', 1, False),
    ('step', 1, True)])
def test_published_maps_lie_on_the_picture(
        kind: str, along: int, cached: bool, tmp_path: Path) -> None:
    """Heads that learned labels 1.5 pixels off published them so."""
    source, extractor = Steps(kind, along), CellMeans()
    clips = [source.clip(index) for index in range(len(source))]
    features = torch.from_numpy(extractor.features(np.concatenate([c.frames for c in clips])))
    if cached:
        store = build_store(tmp_path, source, 1, extractor, 50.0, 0, {})
        truth = {'labels': store.labels, 'depth': store.depth.astype(np.float32)}
    else:
        items = ClipItems(source, 50.0).__getitems__(range(len(source)))
        truth = {name: np.stack([item[name] for item in items]) for name in ('labels', 'depth')}
    heads = trained_heads({'features': features[:, None]} | {
        name: torch.from_numpy(np.array(values)) for name, values in truth.items()})
    decode = DecodeGraph(
        None, heads.segmentation, heads.depth, GRID, (HEIGHT // 2, WIDTH // 2), [1.0])
    with torch.no_grad():
        scores, seen_depth = decode.heads(features)
        seen_labels = decode.labels(scores)
    maps = [seen_labels.to(torch.uint8).numpy(), seen_depth.numpy()]
    labels, depth = (
        np.stack([enlarge_map(one, (WIDTH, HEIGHT)) for one in values]) for values in maps)
    inner = np.s_[:, INNER, INNER]
    if kind == 'step':
        seen = np.stack([clip.labels[0] for clip in clips])
        moved = (seen[inner].mean() - labels[inner].mean()) * (HEIGHT, WIDTH)[along]
        assert abs(moved) < 0.4, moved
        assert (labels == seen)[inner].mean() > 0.9
    else:
        seen = np.stack([clip.depth[0] for clip in clips])
        moved = (seen[inner] - depth[inner]) / 0.2   # metres a pixel
        assert abs(np.median(moved)) < 0.4, np.median(moved)
