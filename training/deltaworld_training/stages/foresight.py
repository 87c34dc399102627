# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Train DINO-Foresight's masked transformer, over patches or over delta tokens."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from deltaworld_ros.errors import UserError
from deltaworld_ros.model.foresight import ForesightWorld, window_table
from deltaworld_training.stages.losses import ELEMENTWISE
from deltaworld_training.stages.parts import Sizes, frozen, load_part
from deltaworld_training.stages.predictor import clip_tokens
from deltaworld_training.stages.stage import Initialisation, Stage


class ForesightStage(Stage):
    """Predict the last frame, masked as a whole, of every window of a clip (paper, Table D)."""

    world: ForesightWorld

    def __init__(
        self, world: Sizes | None = None, tokenizer: Path | None = None,
        loss: Literal['mse', 'smooth_l1'] = 'smooth_l1', initialisation: Initialisation = 'torch',
        **options: Any,
    ):
        """
        Take the world's sizes; its own initialisation is that of the original.

        tokenizer: file of the frozen tokenizer, for a world of one token a frame whose batches
        hold no tokens.
        """
        super().__init__(**options)
        self.world = self.learn('world', world, initialisation)  # type: ignore[assignment]
        self.tokenizer: Any = frozen(load_part(tokenizer, 'tokenizer')[0]) if tokenizer else None
        self.loss = ELEMENTWISE[loss]

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Take features (B, F, N, D), frames (B, F, h, w, 3), or anchor and delta tokens."""
        if 'deltas' in batch or self.tokenizer is not None:
            frames = clip_tokens(self, self.tokenizer, batch)[:, :, None]
        else:
            frames = self.features(batch)
        count, length = frames.shape[1], self.world.frames
        if count < length:
            raise UserError(f'clips of {count} frames: this world predicts from windows of '
                            f'{length}')
        starts = range(count - length + 1)
        windows = torch.cat([frames[:, start:start + length] for start in starts])
        times = torch.cat([batch['times'][:, start:start + length] for start in starts])
        predicted = self.world(windows[:, :-1], window_table(times)).float()
        loss = self.loss(predicted, windows[:, -1]).mean()
        self.log('loss', loss, prog_bar=True)
        return loss
