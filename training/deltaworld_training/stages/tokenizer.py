# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Train a tokenizer: reconstruct frames from the token of their change."""

from typing import Any, Literal

import torch
from torch import Tensor

from deltaworld_ros.errors import UserError
from deltaworld_ros.model.compact_tokenizer import CompactDeltaTok
from deltaworld_ros.model.grid_tokenizer import GridDeltaTok
from deltaworld_ros.model.protocols import Tokenizer
from deltaworld_training.stages.linear_codes import fit_codes
from deltaworld_training.stages.losses import ELEMENTWISE
from deltaworld_training.stages.noise import forward_uniform
from deltaworld_training.stages.parts import Sizes
from deltaworld_training.stages.stage import Initialisation, Stage

Previous = Literal['true', 'decoded', 'own']
CODE_FRAMES = 8000


class TokenizerStage(Stage):
    """
    Minimise the reconstruction error of every frame of a window but the first.

    Batches hold windows of two or more frames. `previous` says what a token is relative to:
    'true' pairs, each decoded on the true frame before it (paper, equations 8 and 9); tokens of
    true pairs, each 'decoded' on the reconstruction before it, as in a rollout; or its 'own'
    reconstructions, encoded and decoded (paper, appendix D).
    """

    def __init__(
        self, tokenizer: Sizes | None = None,
        loss: Literal['mse', 'log_cosh', 'relative'] = 'mse', previous: Previous = 'true',
        black: bool = False, coordinate_stretch: float = 1.0,
        initialisation: Initialisation = 'paper', **options: Any,
    ):
        """
        Take the tokenizer's sizes and how it learns.

        loss: 'relative' is the squared error divided by that of copying the window's first
        frame; black: the window begins with a black frame, so that anchor tokens are learned
        too; coordinate_stretch: patch coordinates are stretched by up to this, up or down, by
        one factor for each process and forward pass, as the release does.
        """
        super().__init__(**options)
        self.tokenizer: Any = self.learn('tokenizer', tokenizer, initialisation)
        self.loss = loss
        self.previous = previous
        self.black = black
        self.coordinate_stretch = coordinate_stretch
        if isinstance(self.tokenizer, CompactDeltaTok) and (black or coordinate_stretch != 1.0):
            raise UserError('the compact tokenizer has no black frame and no coordinate stretch')

    def on_fit_start(self) -> None:
        """Fit the linear codes of a new compact tokenizer; look at the black frame."""
        tokenizer = self.tokenizer
        with torch.no_grad():
            if isinstance(tokenizer, GridDeltaTok) and not tokenizer.frame_tokens:
                self._see_black(tokenizer)
            elif isinstance(tokenizer, CompactDeltaTok) and not tokenizer.delta_code.basis.any():
                stores = getattr(self.trainer.datamodule, 'stores', None)  # type: ignore[attr-defined]
                if stores is None:
                    raise UserError('a new compact tokenizer is fitted to cached features: train '
                                    'it on those, or name a file to start from (--model.initial)')
                fit_codes(tokenizer, stores, CODE_FRAMES, self.seed)

    def _see_black(self, tokenizer: GridDeltaTok) -> None:
        if self.backbone is not None:
            rows, columns = (self.backbone.stride * count for count in tokenizer.grid)
            image = torch.zeros(
                1, 3, rows, columns, dtype=torch.uint8, device=tokenizer.black.device)
            tokenizer.black.copy_(self.backbone(image))
        elif not tokenizer.black.any():
            raise UserError(
                'the tokenizer needs the black frame: name the backbone (--model.backbone FILE)')

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Reconstruct windows of frames (B, F, h, w, 3) or features (B, F, N, D)."""
        features = self.features(batch)
        if self.black:
            black = self.tokenizer.black.float()
            features = torch.cat([black.expand_as(features[:, :1]), features], dim=1)
        if self.coordinate_stretch != 1.0:
            trainer = self.trainer
            share = 2.0 * forward_uniform(
                self.seed, trainer.global_step, trainer.global_rank, self._part[1]) - 1.0
            self.tokenizer.coordinate_scale = self.coordinate_stretch ** share
        predicted = reconstruct(self.tokenizer, features, self.previous).float()
        true = features[:, 1:]
        error = (predicted - true).square().mean((2, 3))
        copy = (features[:, :1] - true).square().mean((2, 3))
        if self.loss == 'relative':
            # Far leads and lively clips must not outweigh the rest.
            loss = (error / (copy + 0.1)).mean()
        else:
            loss = ELEMENTWISE[self.loss](predicted, true).mean()
        ratios = (error.sum(0) / copy.sum(0)).detach()
        self.log('loss', loss, prog_bar=True)
        self.log('first', ratios[0], prog_bar=True)
        self.log('last', ratios[-1], prog_bar=True)
        return loss

    def on_fit_end(self) -> None:
        """End the stretch of coordinates with the training."""
        if isinstance(self.tokenizer, GridDeltaTok):
            self.tokenizer.coordinate_scale = 1.0


def reconstruct(tokenizer: Tokenizer, features: Tensor, previous: Previous) -> Tensor:
    """
    Reconstruct frames 2 to F of windows (B, F, N, D); see TokenizerStage for `previous`.

    Returns (B, F - 1, N, D). With 'own' no gradient flows from one frame to the one before.
    """
    batch, frames = features.shape[:2]
    before, after = features[:, :-1].flatten(0, 1), features[:, 1:].flatten(0, 1)
    if previous == 'true':
        return tokenizer.decode(tokenizer.encode(before, after), before).unflatten(
            0, (batch, frames - 1))
    current, decoded = features[:, 0], []
    if previous == 'decoded':
        tokens = tokenizer.encode(before, after).unflatten(0, (batch, frames - 1))
    for step in range(1, frames):
        if previous == 'own':
            current = current.detach()
            token = tokenizer.encode(current, features[:, step])
        else:
            token = tokens[:, step - 1]
        current = tokenizer.decode(token, current)
        decoded.append(current)
    return torch.stack(decoded, dim=1)
