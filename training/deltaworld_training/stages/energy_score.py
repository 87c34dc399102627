# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How well samples tell what may come, with as much spread as there is error."""

import torch
from torch import Tensor

# Keeps the slope of a distance finite where it is zero.
EPSILON = 1e-8


def energy_score(samples: Tensor, truth: Tensor) -> Tensor:
    """
    Return the energy score (B,) of samples (B, K, ...) for truth (B, ...), K at least 2.

    The mean distance of a sample from the truth less half of that between two samples. Only
    samples that are distributed as the truth make it smallest on average (Gneiting and Raftery,
    2007). Distances are roots of mean squares.
    """
    samples, truth = samples.flatten(2), truth.flatten(1)

    def distance(difference: Tensor) -> Tensor:
        return (difference.square().mean(-1) + EPSILON).sqrt()
    count = samples.shape[1]
    apart = torch.stack([
        distance(samples[:, i] - samples[:, j]) for i in range(count) for j in range(i)])
    return distance(samples - truth[:, None]).mean(1) - 0.5 * apart.mean(0)
