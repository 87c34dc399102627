# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Train the predictor by best-of-many over whole rollouts in token space."""

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from deltaworld_ros.model.compact_tokenizer import CompactDeltaTok
from deltaworld_ros.model.predictor import DeltaWorld
from deltaworld_ros.model.rotary import time_frequencies, time_table
from deltaworld_training.data.feature_store import FeatureStore
from deltaworld_training.stages.optimizer import adamw_with_cosine

NOISE_STD = 0.02


@torch.no_grad()
def encode_store(
    tokenizer: CompactDeltaTok, store: FeatureStore, batch: int = 64,
) -> dict[str, np.ndarray]:
    """Return anchor and delta tokens (C, F, token size) of all complete clips, and times."""
    clips, frames = store.clips, store.features.shape[1]
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    tokenizer.to(device)
    anchors = np.zeros((len(clips), frames, tokenizer.token_size), np.float16)
    deltas = np.zeros_like(anchors)
    for begin in range(0, len(clips), batch):
        features = torch.from_numpy(
            store.features[clips[begin:begin + batch]]).to(device).float()
        count = features.shape[0]
        part = slice(begin, begin + count)
        with torch.autocast(device.type, torch.bfloat16):
            pairs = tokenizer.encode(
                features[:, :-1].flatten(0, 1), features[:, 1:].flatten(0, 1))
        anchor = tokenizer.encode_anchor(features.flatten(0, 1))
        deltas[part, 1:] = pairs.float().unflatten(0, (count, frames - 1)).cpu().numpy()
        anchors[part] = anchor.unflatten(0, (count, frames)).cpu().numpy()
    tokenizer.cpu()
    return {'anchors': anchors, 'deltas': deltas, 'times': store.times[clips]}


def context_and_future(
    batch: dict[str, Tensor], context: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """
    Split windows of tokens.

    Returns the context (B, T, D), whose first token is the anchor of the oldest frame, the true
    future tokens (B, S, D) and the times (B, T + S), re-based to the newest context frame.
    """
    deltas, times = batch['deltas'].float(), batch['times']
    tokens = torch.cat([batch['anchors'][:, :1].float(), deltas[:, 1:context]], dim=1)
    return tokens, deltas[:, context:], times - times[:, context - 1:context]


class PredictorStage(lightning.LightningModule):
    """
    Supervise only the best of many rollouts (paper, equation 4, over all steps at once).

    Every sample keeps one noise query through its steps; the candidates are rolled out without
    gradients and only the winner again with them.
    """

    def __init__(
        self, world: DeltaWorld, context: int, candidates: int, rate: float, weight_decay: float,
        steps: int, warm_up: int, token_noise: float,
    ):
        """Take the model, the length of the context, K and the optimiser's settings."""
        super().__init__()
        self.world = world
        self.context = context
        self.candidates = candidates
        self.token_noise = token_noise
        self.settings = (rate, weight_decay, steps, warm_up)
        self.frequencies = time_frequencies()

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Choose and train the best rollout of each window."""
        tokens, future, times = context_and_future(batch, self.context)
        tokens = tokens + self.token_noise * torch.randn_like(tokens)
        table = time_table(times, self.frequencies)
        size, steps = tokens.shape[0], future.shape[1]
        noise = NOISE_STD * torch.randn(
            size, self.candidates, 1, self.world.noise_size, device=self.device)
        noise = noise.expand(-1, -1, steps, -1)
        with torch.no_grad():
            rollouts = self.world.rollout(tokens, table, noise)
            errors = (rollouts - future[:, None]).square().mean((2, 3))
            best = errors.argmin(1)
        winner = noise[torch.arange(size), best][:, None]
        predicted = self.world.rollout(tokens, table, winner)[:, 0]
        loss = (predicted.float() - future).square().mean()
        copy = future.square().mean()
        self.log('loss', loss, prog_bar=True)
        self.log('best', loss.detach() / copy, prog_bar=True)
        self.log('mean', (rollouts.float().mean(1) - future).square().mean() / copy,
                 prog_bar=True)
        return loss

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with the cosine schedule."""
        return adamw_with_cosine(self.world.parameters(), *self.settings)
