# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The one optimiser and schedule of all stages: AdamW, a linear warm-up, a cosine to nothing."""

import math
from collections.abc import Iterable

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn


def adamw_with_cosine(
    parameters: Iterable[nn.Parameter], rate: float, weight_decay: float, steps: int,
    warm_up: int,
) -> OptimizerLRSchedulerConfig:
    """Rise linearly to `rate` over `warm_up` steps, then fall by a cosine to 0 at `steps`."""
    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        progress = min(1.0, (step - warm_up) / max(1, steps - warm_up))
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    optimizer = torch.optim.AdamW(
        parameters, rate, betas=(0.9, 0.95), weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}
