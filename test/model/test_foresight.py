# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""DINO-Foresight's masked transformer: what each frame sees, rollouts, and learning."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.training_batches import drifting
from torch import Tensor

from deltaworld_ros.errors import UserError
from deltaworld_ros.export.cost import forecast_cost
from deltaworld_ros.model.dinov3 import DinoV3
from deltaworld_ros.model.foresight import ForesightWorld, window_table
from deltaworld_training.stages.foresight import ForesightStage

GRID = (2, 4)


def world(grid: tuple[int, int] = GRID, **sizes: Any) -> ForesightWorld:
    torch.manual_seed(0)
    made = ForesightWorld(48, 2, 2, 96, 32, grid, **sizes)
    with torch.no_grad():
        made.head.weight.normal_(std=0.1)
    return made.eval()


def times(count: int) -> Tensor:
    return 0.2 * torch.arange(count, dtype=torch.float64)[None] + 1.7e9


def test_every_patch_of_every_frame_and_the_times_reach_the_prediction() -> None:
    model, known = world(), torch.randn(1, 4, 8, 32, requires_grad=True)
    predicted = model(known, window_table(times(5)))
    assert predicted.shape == (1, 8, 32)
    predicted[0, 3].sum().backward()
    assert known.grad is not None and (known.grad.abs().amax(-1) > 0).all()
    with torch.no_grad():
        later = times(5)
        later[:, -1] += 0.2
        assert (model(known, window_table(later)) - predicted).abs().max() > 1e-4
        # Seconds since the epoch are nothing to it.
        torch.testing.assert_close(
            model(known, window_table(times(5) - 1.7e9)), predicted, atol=1e-5, rtol=1e-5)


def test_attention_is_over_time_and_then_over_the_frame() -> None:
    """One block lets a patch see its own past and its own frame, and nothing else."""
    torch.manual_seed(0)
    block = ForesightWorld(48, 2, 1, 96, 32, GRID).blocks[0]
    x = torch.randn(1, 5, 8, 48, requires_grad=True)
    block(x)[0, 4, 3].sum().backward()
    assert x.grad is not None
    seen = x.grad[0].abs().amax(-1) > 0
    # Through its frame's patches it sees the past of each of them.
    assert seen.all()
    x.grad = None
    (x + block.temporal(x.transpose(1, 2)).transpose(1, 2))[0, 4, 3].sum().backward()
    assert (x.grad[0].abs().amax(-1) > 0).sum() == 5
    x.grad = None
    (x + block.spatial(x))[0, 4, 3].sum().backward()
    assert (x.grad[0].abs().amax(-1) > 0).sum() == 8


def test_one_token_a_frame_needs_no_attention_over_patches() -> None:
    model = world((1, 1))
    assert all(block.spatial is None for block in model.blocks)
    assert model(torch.randn(3, 4, 1, 32), window_table(times(5).expand(3, -1))).shape == (
        3, 1, 32)


@torch.no_grad()
def test_rollouts_go_on_from_their_own_frames() -> None:
    model, known, when = world(), torch.randn(2, 4, 8, 32), times(7).expand(2, -1)
    futures = model.rollout(known, when)
    assert futures.shape == (2, 3, 8, 32)
    frames = known
    for step in range(3):
        following = model(frames[:, step:], window_table(when[:, step:step + 5]))
        torch.testing.assert_close(futures[:, step], following)
        frames = torch.cat([frames, following[:, None]], dim=1)


def batch(tokens: bool) -> dict[str, Tensor]:
    samples = [drifting(index) for index in range(16)]
    found = {name: torch.stack([torch.as_tensor(one[name]) for one in samples])
             for name in ('features', 'times')}
    if tokens:
        token = found.pop('features').float().mean(2)
        found |= {'anchors': token, 'deltas': torch.diff(token, dim=1, prepend=token[:, :1])}
    return found


@pytest.mark.parametrize('tokens', [False, True])
def test_it_learns_where_things_go(tokens: bool) -> None:
    stage = ForesightStage(
        {'kind': 'foresight', 'size': 48, 'heads': 2, 'layers': 1, 'mlp_size': 96,
         'feature_size': 64, 'grid': [1, 1] if tokens else list(GRID)}, rate=1e-3)
    stage.log = lambda *args, **options: None  # type: ignore[method-assign]
    optimizer = torch.optim.Adam(stage.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = stage.training_step(batch(tokens), 0)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    short = {name: value[:, :4] for name, value in batch(tokens).items()}
    with pytest.raises(UserError, match='clips of 4 frames: .* windows of 5'):
        stage.training_step(short, 0)


def test_the_cost_grows_with_the_patches() -> None:
    """Each step costs the same, since the window slides; attention grows faster than layers."""
    with torch.device('meta'):
        backbone = DinoV3(32, 1, 1, 64)
        patches = forecast_cost(backbone, None, world_on_meta(GRID), (32, 64), 4, 3, 1)
        fewer = forecast_cost(backbone, None, world_on_meta((2, 2)), (32, 32), 4, 3, 1)
    assert len(patches.predictor) == 3 and len({one.gflops for one in patches.predictor}) == 1
    assert patches.predictor[0].layers == pytest.approx(2 * fewer.predictor[0].layers, rel=0.01)
    assert patches.predictor[0].attention > 2 * fewer.predictor[0].attention


def world_on_meta(grid: tuple[int, int]) -> ForesightWorld:
    return ForesightWorld(48, 2, 2, 96, 32, grid)
