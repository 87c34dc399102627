# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How much of the robot's motion a predictor is told in training: all, the past, or nothing."""

import torch
from torch import Tensor

from deltaworld_ros.errors import UserError
from deltaworld_ros.model.protocols import World, takes_motion
from deltaworld_training.stages.stage import Stage

MOTION_STREAM = 3
# Of the normal distribution: a quarter lies above, and a half above zero.
UPPER_QUARTILE = 0.6745


def told_motion(
    stage: Stage, world: World, batch: dict[str, Tensor], context: int,
) -> tuple[Tensor, ...]:
    """
    Return what to tell a world of windows' motion: (B, F, 3), or nothing where it takes none.

    Half of the windows tell nothing, so that the world works without; half of the others tell all
    and half the past alone, the first `context` frames. Values that are not finite are unknown.
    """
    if not takes_motion(world):
        return ()
    if 'motion' not in batch:
        raise UserError('world.motion: the batches hold no motion (--data.motion true)')
    motion = batch['motion']
    drawn = stage.noise(len(motion), MOTION_STREAM).normal(1)
    told = torch.where(
        torch.arange(motion.shape[1], device=motion.device) < context,
        drawn > 0.0, drawn > UPPER_QUARTILE)
    return (as_told(motion, told),)


def as_told(motion: Tensor, told: Tensor) -> Tensor:
    """Return motion (..., 2) with its flags (..., 3), zeros where it is not told (...)."""
    known = (torch.isfinite(motion).all(-1) & told)[..., None]
    return torch.cat([torch.where(known, motion, 0.0), known], -1).float()
