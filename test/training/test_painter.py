# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A painter learns the frames that features come from, and goes into a bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.network_bundle import random_networks, small_recipe
from support.training_batches import BACKBONE, moving_frames, save_random

from deltaworld_ros.errors import UserError
from deltaworld_ros.export.painter import read_painter
from deltaworld_training.stages.painter import PainterStage
from deltaworld_training.stages.parts import save_parts

PAINTER = {'kind': 'vit', 'feature_size': 64, 'size': 32, 'layers': 1, 'mlp_size': 64,
           'grid': [2, 4], 'after_norm': True}


def test_it_learns_the_frames_of_its_features(tmp_path: Path) -> None:
    stage = PainterStage(
        PAINTER, 'torch', rate=1e-3, backbone=save_random(tmp_path, 'backbone', BACKBONE))
    stage.log = lambda *args, **options: None  # type: ignore[method-assign]
    optimizer = torch.optim.Adam(stage.painter.parameters(), lr=3e-3)
    frames = torch.stack([torch.from_numpy(moving_frames(index)['frames']) for index in range(8)])
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = stage.training_step({'frames': frames}, 0)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert stage.painter.decoder_pos_embed.grad.abs().max() > 0
    # A white square on black; the mean picture alone would not get there.
    assert losses[-1] < 0.5 * losses[0]
    with pytest.raises(UserError, match='learns from frames'):
        stage.training_step({'features': torch.zeros(1, 2, 8, 64)}, 0)


def test_a_trained_file_paints_as_it_did(tmp_path: Path) -> None:
    """Of another backbone than DINOv3, whose features it took as they are."""
    stage = PainterStage(PAINTER | {'feature_size': 32, 'grid': [4, 6]}, 'torch', rate=1e-3)
    path = tmp_path / 'painter.safetensors'
    save_parts(path, stage.learned(stage.state_dict()), stage.sizes, {})
    networks = random_networks(small_recipe())
    features = torch.randn(1, 24, 32)
    with torch.no_grad():
        expected = stage.painter.eval()(features)
        torch.testing.assert_close(read_painter(path, networks)(features), expected)
