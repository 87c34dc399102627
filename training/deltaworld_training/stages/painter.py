# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Train a painter: features of a frozen backbone back to the frames that they came from."""

from typing import Any

from torch import Tensor

from deltaworld_ros.errors import UserError
from deltaworld_ros.model.painter import Painter
from deltaworld_training.stages.parts import Sizes
from deltaworld_training.stages.stage import Initialisation, Stage


class PainterStage(Stage):
    """Learn the mean absolute error of pixels in 0..1, on frames alone."""

    painter: Painter

    def __init__(
        self, painter: Sizes | None = None, initialisation: Initialisation = 'paper',
        **options: Any,
    ):
        """Take the painter's sizes."""
        super().__init__(**options)
        self.painter = self.learn(  # type: ignore[assignment]
            'painter', painter, initialisation)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Paint each frame of a batch of frames (B, F, h, w, 3) from its own features."""
        if 'frames' not in batch:
            raise UserError('a painter learns from frames; features alone have no pixels')
        frames = batch['frames'].flatten(0, 1)
        painted = self.painter.pixels(self.features(batch).flatten(0, 1)).float()
        loss = (painted - frames.float() / 255.0).abs().mean()
        self.log('loss', loss, prog_bar=True)
        return loss
