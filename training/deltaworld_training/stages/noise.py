# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Random numbers that belong to a sample, whoever computes it."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class SampleNoise:
    """
    Standard normal numbers for each sample of a batch, drawn one after the other.

    Each sample has its own generator, seeded by (seed, its number in the run, stream): its
    numbers depend neither on the number of processes nor on a kill and resume. They are drawn
    on the device, since those of many candidates would keep a GPU waiting.
    """

    def __init__(
        self, seed: int, numbers: Sequence[int], device: torch.device, stream: int = 0,
    ):
        """Take the run's seed and the samples' numbers in it."""
        self.generators = [
            torch.Generator(device).manual_seed(_mixed(seed, number, stream))
            for number in numbers]

    def normal(self, *shape: int) -> Tensor:
        """Return (B, *shape), the next numbers of each sample."""
        return torch.stack([
            torch.randn(shape, generator=g, device=g.device) for g in self.generators])


def forward_uniform(seed: int, step: int, rank: int, part: int) -> float:
    """
    Return one number in 0..1 that all samples of a process's forward pass share.

    `part` counts the accumulated batches of a step.
    """
    return float(np.random.default_rng((seed, step, rank, part)).random())


def _mixed(seed: int, number: int, stream: int) -> int:
    state = np.random.SeedSequence((seed, number, stream)).generate_state(1, np.uint64)
    return int(state[0]) >> 1
