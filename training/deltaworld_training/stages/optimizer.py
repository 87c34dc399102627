# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The one optimiser of all stages, AdamW, and its schedules as plain functions of the step."""

import math
from typing import Literal

import torch
from torch import nn

Schedule = Literal['constant', 'cosine']
Decay = Literal['all', 'weights']


def rate_factor(schedule: Schedule, step: int, warm_up: int, steps: int) -> float:
    """
    Return the share of the full rate at a step.

    constant: a linear rise from 0 over `warm_up` steps, then 1 (paper and release).
    cosine: a rise that begins above 0, then a fall by a cosine to 0 at `steps`.
    """
    if schedule == 'constant':
        return min(1.0, step / warm_up) if warm_up else 1.0
    if step < warm_up:
        return (step + 1) / warm_up
    progress = min(1.0, (step - warm_up) / max(1, steps - warm_up))
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def adamw(
    module: nn.Module, rate: float, weight_decay: float, betas: tuple[float, float],
    decay: Decay,
) -> torch.optim.AdamW:
    """
    Return AdamW over the module's parameters that learn.

    decay: 'all' parameters, or only the 'weights' of linear and convolution layers (release).
    """
    learning = [p for p in module.parameters() if p.requires_grad]
    if decay == 'all':
        return torch.optim.AdamW(learning, rate, betas=betas, weight_decay=weight_decay)
    weights = {
        id(layer.weight) for layer in module.modules()
        if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d))}
    return torch.optim.AdamW([
        {'params': [p for p in learning if id(p) in weights], 'weight_decay': weight_decay},
        {'params': [p for p in learning if id(p) not in weights], 'weight_decay': 0.0},
    ], rate, betas=betas)
