# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Train the predictor on the tokens of a frozen tokenizer, by best-of-many or one query."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from deltaworld_ros.errors import UserError
from deltaworld_ros.model.predictor import DeltaWorld
from deltaworld_ros.model.protocols import takes_motion
from deltaworld_ros.model.rotary import time_frequencies, time_table
from deltaworld_training.stages.best_of_many import best_query
from deltaworld_training.stages.energy_score import energy_score
from deltaworld_training.stages.losses import ELEMENTWISE
from deltaworld_training.stages.noise import SampleNoise
from deltaworld_training.stages.parts import Sizes, frozen, load_part
from deltaworld_training.stages.stage import Initialisation, Stage
from deltaworld_training.stages.told_motion import told_motion

NOISE_STD = 0.02
QUERIES, TOKENS = 1, 2


class PredictorStage(Stage):
    """
    Supervise only the best of K predictions (paper, equations 4 and 10).

    The objective 'next' predicts every next token from the true ones before it, under a causal
    mask; 'rollout' predicts the tokens after `context` frames from its own predictions. The
    candidates run without gradients, a few at a time, and the winner again with them. A world
    with a learned query is the discriminative model: one prediction and no choice. With the loss
    'energy' all K count together, by the energy score of rollouts with kept queries.
    """

    world: DeltaWorld

    def __init__(
        self, world: Sizes | None = None, tokenizer: Path | None = None,
        objective: Literal['next', 'rollout'] = 'next', candidates: int = 256,
        queries: Literal['fresh', 'kept'] = 'fresh',
        loss: Literal['mse', 'smooth_l1', 'energy'] = 'smooth_l1', context: int = 4,
        token_noise: float = 0.0, chunk: int = 16, initialisation: Initialisation = 'paper',
        **options: Any,
    ):
        """
        Take the predictor's sizes and how it learns.

        tokenizer: file of the frozen tokenizer, needed unless batches hold tokens; queries: a
        'fresh' query for each predicted token, each with its own winner, or one 'kept' through
        all of them; token_noise: standard deviation of noise on the known tokens; chunk:
        candidates that run at once.
        """
        super().__init__(**options)
        self.world = self.learn('world', world, initialisation)  # type: ignore[assignment]
        self.tokenizer: Any = frozen(load_part(tokenizer, 'tokenizer')[0]) if tokenizer else None
        self.objective = objective
        self.candidates = candidates
        self.queries = queries
        self.scored = loss == 'energy'
        if self.scored and (objective, queries) != ('rollout', 'kept'):
            raise UserError('loss energy: needs objective: rollout and queries: kept')
        if takes_motion(self.world) and objective != 'rollout':
            raise UserError('world.motion: needs objective: rollout')
        self.loss = ELEMENTWISE['mse' if self.scored else loss]
        self.context = context
        self.token_noise = token_noise
        self.chunk = chunk
        self.frequencies = time_frequencies(self.world.frequencies)

    def tokens(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the tokens (B, F, Dz): the first frame's anchor token, then delta tokens."""
        return clip_tokens(self, self.tokenizer, batch)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Predict the tokens of windows and train each one's best candidate."""
        tokens, times = self.tokens(batch), batch['times']
        size, first = len(tokens), self.context if self.objective == 'rollout' else 1
        known = tokens
        if self.token_noise:
            known = tokens + self.token_noise * self.noise(size, TOKENS).normal(*tokens.shape[1:])
        table = time_table(times - times[:, first - 1:first], self.frequencies)
        true = tokens[:, first:]
        motion = told_motion(self, self.world, batch, first)

        def predict(queries: Tensor) -> Tensor:
            if self.objective == 'rollout':
                return self.world.rollout(
                    known[:, :first], table, queries.transpose(1, 2), *motion).transpose(1, 2)
            return teacher_forced(self.world, known, table, queries)

        steps = true.shape[1]
        if self.scored:
            return self.score(known[:, :first], table, true, motion)
        queries = self.choose(predict, true, self.noise(size, QUERIES))
        predicted = predict(queries.expand(-1, steps, -1)[:, :, None])[:, :, 0].float()
        loss = self.loss(predicted, true).mean()
        self.log('loss', loss, prog_bar=True)
        # Zero tokens are the prediction that nothing changes, for a compact tokenizer.
        best = (predicted.detach() - true).square().mean() / true.square().mean()
        self.log('best', best, prog_bar=True)
        return loss

    def score(
        self, known: Tensor, table: tuple[Tensor, Tensor], true: Tensor,
        motion: tuple[Tensor, ...],
    ) -> Tensor:
        """Return the energy score of K samples for the true tokens (B, S, Dz)."""
        noise = NOISE_STD * self.noise(len(true), QUERIES).normal(
            self.candidates, 1, self.world.noise_size)
        samples = self.world.rollout(
            known, table, noise.expand(-1, -1, true.shape[1], -1), *motion).float()
        energy = true.square().mean()
        loss = energy_score(samples, true).mean() / energy.sqrt()
        self.log('loss', loss, prog_bar=True)
        missed = (samples.detach().mean(1) - true).square().mean() / energy
        self.log('mean', missed, prog_bar=True)
        return loss

    def choose(self, predict: Any, true: Tensor, noise: SampleNoise) -> Tensor:
        """Return the winning queries (B, S or 1, size) for the true tokens (B, S, Dz)."""
        steps = true.shape[1]
        # With 'rollout' the steps of a sample belong together, so they win or lose together.
        together = self.queries == 'kept' or self.objective == 'rollout'
        drawn = 1 if self.queries == 'kept' else steps
        if self.world.learned_query:
            return true.new_zeros(len(true), 1, self.world.noise_size)

        def draw(count: int) -> Tensor:
            queries = NOISE_STD * noise.normal(count, drawn, self.world.noise_size)
            return queries[:, None] if together else queries.transpose(1, 2)

        def errors(queries: Tensor) -> Tensor:
            if together:
                queries = queries[:, 0].transpose(1, 2)
            predicted = predict(queries.expand(-1, steps, -1, -1)).float()
            found: Tensor = self.loss(predicted, true[:, :, None]).mean(-1)
            return found.mean(1, keepdim=True) if together else found

        if self.candidates == 1:
            winner = draw(1)[:, :, 0]
        else:
            winner = best_query(draw, errors, self.candidates, self.chunk)
        return winner[:, 0] if together else winner


def clip_tokens(stage: Stage, tokenizer: Any, batch: dict[str, Tensor]) -> Tensor:
    """Return a batch's tokens (B, F, Dz): those that it holds, or those of the tokenizer."""
    if 'deltas' in batch:
        # Half precision does not mix with the other half precision of autocast.
        anchors, deltas = batch['anchors'].float(), batch['deltas'].float()
        return torch.cat([anchors[:, :1], deltas[:, 1:]], dim=1)
    if tokenizer is None:
        raise UserError('name the tokenizer of the tokens (--model.tokenizer FILE)')
    features = stage.features(batch)
    with torch.no_grad():
        anchor = tokenizer.encode_anchor(features[:, 0])
        deltas = tokenizer.encode(
            features[:, :-1].flatten(0, 1), features[:, 1:].flatten(0, 1))
    return torch.cat(
        [anchor[:, None], deltas.unflatten(0, (len(features), -1))], dim=1).float()


def teacher_forced(
    world: DeltaWorld, tokens: Tensor, table: tuple[Tensor, Tensor], queries: Tensor,
) -> Tensor:
    """
    Predict tokens 2 to F, each from the given ones before it, for several queries at once.

    Tokens (B, F, Dz) with a table (B, F, R); queries (B, F - 1, M, size). Returns
    (B, F - 1, M, Dz).
    """
    steps, count = queries.shape[1:3]
    cos, sin = table
    mask = torch.ones(steps, steps, device=tokens.device).tril().bool()
    predicted = world(
        tokens[:, :-1], (cos[:, :-1], sin[:, :-1]), queries.flatten(1, 2),
        (cos[:, 1:].repeat_interleave(count, 1), sin[:, 1:].repeat_interleave(count, 1)),
        mask.repeat_interleave(count, 0))
    return predicted.unflatten(1, (steps, count))
