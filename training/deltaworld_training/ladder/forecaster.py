# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sample futures from a trained row, whatever its tokens are."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deltaworld_ros.model.rotary import time_frequencies, time_table
from deltaworld_training.ladder.rows import Row
from deltaworld_training.ladder.tokens import decode_tokens, encode_frames
from deltaworld_training.stages.predictor import NOISE_STD


@dataclass(frozen=True)
class RowForecaster:
    """A trained row; `tokenizer` is None for spatial tokens."""

    row: Row
    tokenizer: Any
    world: Any
    grid: tuple[int, int]

    @torch.no_grad()
    def futures(
        self, past: Tensor, times: Tensor, samples: int, generator: torch.Generator,
    ) -> Tensor:
        """
        Sample futures (B, M, S, N, D) of past features (B, T, N, D).

        Times (B, T + S) are float64 seconds of past and future frames. Every sample draws a
        fresh query at each step (paper, section 4.3); a discriminative row has one future, M = 1.
        """
        context = past.shape[1]
        steps = times.shape[1] - context
        samples = 1 if self.row.learned_query else samples
        if self.row.world == 'foresight':
            return self._foreseen(past, times)[:, None]
        times = times - times[:, context - 1:context]
        noise = NOISE_STD * torch.randn(
            len(past), samples, steps, self.world.noise_size, generator=generator)
        noise = noise.to(past.device)
        if self.tokenizer is None:
            return self.world.rollout(past, times, noise, self.grid)
        tokens, current = encode_frames(self.tokenizer, past, self.row.own)
        future = self.world.rollout(tokens, time_table(
            times, time_frequencies(self.world.frequencies)), noise)
        upon = current[:, None].expand(-1, samples, -1, -1).flatten(0, 1)
        return decode_tokens(self.tokenizer, future.flatten(0, 1), upon).unflatten(
            0, (len(past), samples))

    def _foreseen(self, past: Tensor, times: Tensor) -> Tensor:
        """Return the one future (B, S, N, D) of a masked transformer."""
        if self.tokenizer is None:
            return self.world.rollout(past, times)
        tokens, current = encode_frames(self.tokenizer, past, self.row.own)
        future = self.world.rollout(tokens[:, :, None], times)[:, :, 0]
        return decode_tokens(self.tokenizer, future, current)

    def sample(
        self, past: np.ndarray, times: np.ndarray, samples: int, seed: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Sample futures (M, S, N, D) of one past (T, N, D), and their weights (M,), all alike.

        Times (T + S,) are seconds of past and future frames.
        """
        device = next(self.world.parameters()).device
        futures = self.futures(
            torch.from_numpy(past)[None].float().to(device),
            torch.from_numpy(times)[None].double().to(device), samples,
            torch.Generator().manual_seed(seed))[0].cpu().numpy()
        return futures, np.full(len(futures), 1.0 / len(futures))
