# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Train a tokenizer and the predictor of its tokens together, on what the heads read."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from deltaworld_ros.model.predictor import DeltaWorld
from deltaworld_ros.model.rotary import time_frequencies, time_table
from deltaworld_training.stages.energy_score import energy_score
from deltaworld_training.stages.head_loss import HeadLoss
from deltaworld_training.stages.heads import class_weights
from deltaworld_training.stages.parts import Sizes
from deltaworld_training.stages.predictor import NOISE_STD, QUERIES
from deltaworld_training.stages.stage import Stage
from deltaworld_training.stages.told_motion import told_motion

# Far leads and lively clips must not outweigh the rest.
STILL = 0.1


class JointStage(Stage):
    """
    Learn tokens that decode well and that can be predicted.

    Batches hold windows of features with their truth: `context` known frames, then the future.
    The future is decoded twice on the newest known frame, from its true tokens and from the mean
    tokens of K samples. Both count by the error of the features, relative to that of copying the
    known frame, and by what the frozen heads read from them. Samples count by the energy score of
    their tokens or of what these decode to, and true tokens a little by how far they are from
    the samples' mean.
    """

    world: DeltaWorld

    def __init__(
        self, heads: Path, tokenizer: Sizes | None = None, world: Sizes | None = None,
        context: int = 4, samples: int = 8, commitment: float = 0.05, class_loss: float = 3.0,
        depth_loss: float = 2.0, balance: float = 0.5,
        fixed: Literal['encoder', 'tokenizer'] | None = None,
        scored: Literal['tokens', 'features'] = 'tokens',
        queries: Literal['fresh', 'kept'] = 'kept', **options: Any,
    ):
        """
        Take the file of the heads, the sizes of both networks and the weights of the losses.

        samples: drawn of each window; commitment: how much true tokens follow the predicted ones;
        balance: a class weighs its frequency to minus this power; fixed: with the 'encoder' true
        tokens stay what they are, with the 'tokenizer' only the samples learn; scored: whether
        samples are scored by their tokens or by the features that they decode to; queries: a
        sample keeps one noise query through its steps, or draws a fresh one for each.
        """
        super().__init__(**options)
        tokenizer_module: Any = self.learn('tokenizer', tokenizer, 'torch')
        self.tokenizer = tokenizer_module
        self.world = self.learn('world', world, 'torch')  # type: ignore[assignment]
        self.head_loss = HeadLoss(heads, self.tokenizer.grid)
        self.context = context
        self.samples = samples
        self.queries = queries
        self.commitment = commitment
        self.class_loss = class_loss
        self.depth_loss = depth_loss
        self.balance = balance
        self.frequencies = time_frequencies(self.world.frequencies)
        self.fixed = fixed
        self.scored = scored
        if fixed:
            for name, parameter in self.tokenizer.named_parameters():
                parameter.requires_grad_(
                    fixed != 'tokenizer' and name.startswith(self.tokenizer.DECODER))

    def on_fit_start(self) -> None:
        """Weigh the classes by their frequency in the stores, whose labels may be unknown."""
        if not self.balance:
            return
        stores = self.trainer.datamodule.stores  # type: ignore[attr-defined]
        weights = self.head_loss.class_weights
        weights.copy_(class_weights(stores, len(weights), self.balance))

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Fit windows: features (B, F, N, D), times (B, F), labels and depth (B, F, a, b)."""
        features, times, known = self.features(batch), batch['times'], self.context
        pairs = self.tokenizer.encode(
            features[:, :-1].flatten(0, 1), features[:, 1:].flatten(0, 1))
        deltas = pairs.float().unflatten(0, (len(features), -1))
        anchor = self.tokenizer.encode_anchor(features[:, 0]).float()
        tokens = torch.cat([anchor[:, None], deltas[:, :known - 1]], dim=1)
        true = deltas[:, known - 1:]
        table = time_table(times - times[:, known - 1:known], self.frequencies)
        samples = self.draw_samples(
            tokens, table, true.shape[1], told_motion(self, self.world, batch, known))

        now, future = features[:, known - 1], features[:, known:]
        truth = self.head_loss.truth(
            future.flatten(0, 1), batch['depth'][:, known:].flatten(0, 1))
        copy = (now[:, None] - future).square().mean((2, 3))
        losses: dict[str, Tensor] = {}
        mean = samples.mean(1)
        decodings = {'': mean}
        if self.fixed != 'tokenizer':
            decodings['true_'] = true
        for name, used in decodings.items():
            decoded = decode_all(self.tokenizer, used, now)
            error = (decoded - future).square().mean((2, 3))
            classes, depth = self.head_loss(decoded.flatten(0, 1), truth)
            losses[f'{name}features'] = (error / (copy + STILL)).mean()
            losses[f'{name}classes'] = self.class_loss * classes
            losses[f'{name}depth'] = self.depth_loss * depth
        energy = true.detach().square().mean()
        if self.scored == 'tokens':
            losses['samples'] = energy_score(samples, true.detach()).mean() / energy.sqrt()
        else:
            losses['samples'] = self.score_features(samples, now, future, copy)
        total = torch.stack(list(losses.values())).sum()
        total = total + self.commitment * (mean.detach() - true).square().mean() / energy
        self.log('loss', total, prog_bar=True)
        self.log_dict(losses)
        return total

    def score_features(
        self, samples: Tensor, now: Tensor, future: Tensor, copy: Tensor,
    ) -> Tensor:
        """Return the energy score of what samples (B, K, S, Dz) decode to, over all leads."""
        count = samples.shape[1]
        decoded = decode_all(
            self.tokenizer, samples.flatten(0, 1), now.repeat_interleave(count, 0)).unflatten(
                0, (-1, count))
        # Each lead by itself, in shares of what copying misses.
        scores = energy_score(
            decoded.transpose(1, 2).flatten(0, 1), future.flatten(0, 1)).unflatten(
                0, (-1, samples.shape[2]))
        return (scores / (copy + STILL).sqrt()).mean()

    def draw_samples(
        self, tokens: Tensor, table: tuple[Tensor, Tensor], steps: int,
        motion: tuple[Tensor, ...],
    ) -> Tensor:
        """Return samples (B, K, S, Dz) of the tokens after known ones (B, T, Dz)."""
        drawn = 1 if self.queries == 'kept' else steps
        noise = NOISE_STD * self.noise(len(tokens), QUERIES).normal(
            self.samples, drawn, self.world.noise_size)
        return self.world.rollout(
            tokens, table, noise.expand(-1, -1, steps, -1), *motion).float()


def decode_all(tokenizer: Any, tokens: Tensor, start: Tensor) -> Tensor:
    """Decode tokens (B, S, Dz) one after the other on features (B, N, D): (B, S, N, D)."""
    current, decoded = start, []
    for step in range(tokens.shape[1]):
        current = tokenizer.decode(tokens[:, step], current).float()
        decoded.append(current)
    return torch.stack(decoded, dim=1)
