# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Predictors are trained with the robot's motion, and to work without it."""

from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from support.training_batches import DELTA, WORLD, TinyData, drifting, save_random

from deltaworld_ros.errors import UserError
from deltaworld_ros.model.networks import build_part
from deltaworld_training.stages.noise import SampleNoise
from deltaworld_training.stages.predictor import PredictorStage
from deltaworld_training.stages.told_motion import told_motion

TOLD = WORLD | {'motion': True}


class Draws:
    """Draws as a stage does in its first step."""

    def noise(self, size: int, stream: int) -> SampleNoise:
        return SampleNoise(0, range(size), torch.device('cpu'), stream)


def told(batch: dict[str, torch.Tensor], world: dict[str, Any] = TOLD) -> tuple[Any, ...]:
    stage: Any = Draws()
    return told_motion(stage, build_part('world', world), batch, 4)   # type: ignore[arg-type]


def test_half_of_the_windows_tell_nothing() -> None:
    """Of the others half tell the past alone; what is not known is never told."""
    motion = torch.tensor([5.0, -0.2]).repeat(600, 7, 1)
    motion[:, 2, 1] = torch.nan
    [found] = told({'motion': motion})
    assert found.shape == (600, 7, 3) and torch.isfinite(found).all()
    flags = found[..., 2]
    assert set(flags.unique().tolist()) == {0.0, 1.0} and not flags[:, 2].any()
    assert torch.equal(found[..., 0], 5.0 * flags)
    past, plan = flags[:, 0].bool(), flags[:, 6].bool()
    assert 0.44 < float(past.float().mean()) < 0.56
    assert 0.19 < float(plan.float().mean()) < 0.31
    assert not (plan & ~past).any()


def test_batches_must_hold_the_motion_that_a_world_takes() -> None:
    with pytest.raises(UserError, match='the batches hold no motion .--data.motion true'):
        told({})
    assert told({}, WORLD) == ()
    with pytest.raises(UserError, match='world.motion: needs objective: rollout'):
        PredictorStage(TOLD, rate=1e-3, objective='next')


def driven(index: int) -> dict[str, np.ndarray]:
    """Return drifting features whose direction is that of the motion."""
    batch = drifting(index)
    sign = np.sign(batch['features'][-1, 0, 0] - batch['features'][0, 0, 0])
    return {**batch, 'motion': np.tile([-5.0 * sign, 0.0], (8, 1)).astype(np.float32)}


@pytest.mark.parametrize('settings', [
    {'candidates': 1}, {'candidates': 4, 'queries': 'kept', 'loss': 'energy'}])
def test_the_predictor_learns_what_the_motion_means(
    tmp_path: Path, settings: dict[str, Any],
) -> None:
    torch.set_num_threads(1)
    stage = PredictorStage(
        TOLD, tokenizer=save_random(tmp_path, 'tokenizer', DELTA), objective='rollout', rate=2e-3,
        **settings)
    before = {name: value.clone() for name, value in stage.world.named_parameters()}
    lightning.Trainer(
        max_steps=6, accelerator='cpu', devices=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, use_distributed_sampler=False,
    ).fit(stage, TinyData(driven))
    for name in ('token_motion.weight', 'query_motion.weight'):
        now = dict(stage.world.named_parameters())[name]
        assert float((now - before[name]).detach().abs().max()) > 1e-3, name
