# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A predictor that starts from the last token instead of from nothing, for small budgets."""

from typing import Any

import torch
from torch import Tensor, nn

from deltaworld_ros.model.predictor import DeltaWorld
from deltaworld_ros.model.registry import register

# Brings noise of the paper's deviation of 0.02 to the size of the other part of a query.
NOISE_GAIN = 15.0


@register('world', 'residual')
class ResidualWorld(DeltaWorld):
    """
    DeltaWorld whose queries know the last token and whose output is added to a share of it.

    What moves goes on moving: the change of the last step is a better guess than zero. The share
    is learned for each value of a token. Samples differ by few numbers instead of a whole query,
    so that they differ by what moves most and not by what no network can foresee.
    """

    def __init__(self, noise_size: int = 4, **sizes: Any):
        """Take the numbers of a sample and the sizes of DeltaWorld."""
        super().__init__(**sizes)
        head = self.predictor.head
        self.noise_size = noise_size
        self.noise_input = nn.Linear(noise_size, head.in_features, bias=False)
        nn.init.normal_(self.noise_input.weight, std=NOISE_GAIN)
        self.last_input = nn.Linear(head.out_features, head.in_features)
        self.repeat = nn.Parameter(torch.full((head.out_features,), 0.5))

    def start(self, noise: Tensor, last: Tensor) -> Tensor:
        """Return queries of noise (B, M, noise size) and of the last tokens (B, M or 1, Dz)."""
        return self.noise_input(noise) + self.last_input(last)

    def finish(self, queries: Tensor, last: Tensor) -> Tensor:
        """Return the last tokens' shares plus the predicted changes, (B, M, Dz)."""
        return super().finish(queries, last) + self.repeat * last
