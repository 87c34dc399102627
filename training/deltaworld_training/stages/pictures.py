# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sample pictures during training: true features beside reconstructions and futures."""

from pathlib import Path
from typing import Any

import cv2
import lightning
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from deltaworld_ros.bundle.class_lists import STREET as CLASSES
from deltaworld_ros.export.graphs import Tokenizer
from deltaworld_ros.model.rotary import time_table
from deltaworld_training.stages.heads import HeadsStage, as_maps
from deltaworld_training.stages.parts import load_part
from deltaworld_training.stages.predictor import NOISE_STD, PredictorStage
from deltaworld_training.stages.tokenizer import TokenizerStage, reconstruct

CELL = 8
SAMPLES = 3


class SamplePictures(lightning.Callback):
    """
    Write a picture every so often, as PNG and to TensorBoard.

    Each row is a sequence of frames: first the true features, then the stage's own: the
    reconstruction (tokenizer) or some sampled futures after the context (predictor). Colours
    are the first three principal components of the true features, or the classes where
    `heads` names the file of a segmentation head.
    """

    def __init__(self, folder: Path, every: int = 1000, heads: Path | None = None):
        """Take the folder, the steps between pictures (0: none) and the heads' file."""
        self.folder = Path(folder)
        self.every = every
        self.heads = heads
        self.example: dict[str, Tensor] | None = None

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:
        """Draw where a step ends that is due."""
        step = trainer.global_step
        due = self.every and step % self.every == 0 and step > 0
        if not due or not trainer.is_global_zero or isinstance(pl_module, HeadsStage):
            return
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        if self.example is None:
            make = getattr(trainer.datamodule, 'example', None)  # type: ignore[attr-defined]
            self.example = {
                name: value[:1].to(pl_module.device)
                for name, value in (make() if make else batch).items()}
        features = pl_module.features(self.example)
        rows = draw_rows(pl_module, features, self.example['times'])
        if rows is None:
            return
        picture = self.paint(rows, pl_module)
        self.folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(self.folder / f'{step:07d}.png'), picture[..., ::-1])
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image('samples', picture, step, dataformats='HWC')

    def paint(self, rows: list[Tensor], stage: Any) -> np.ndarray:
        """Return rows of feature maps, each (F, N, D), as one RGB picture (h, w, 3) uint8."""
        tokenizer = stage.tokenizer
        if self.heads is not None:
            head = load_part(self.heads, 'segmentation')[0].to(stage.device)
            palette = np.array([c.color for c in CLASSES], np.uint8)
            painted = [palette[head(as_maps(row, tokenizer.grid)).argmax(1).cpu().numpy()]
                       for row in rows]
        else:
            painted = components(rows, tokenizer.grid)
        picture = np.concatenate([np.concatenate(list(row), axis=1) for row in painted])
        return picture.repeat(CELL, 0).repeat(CELL, 1)


def draw_rows(stage: Any, features: Tensor, times: Tensor) -> list[Tensor] | None:
    """Return the first window's true features and the stage's own, each (F, N, D), or None."""
    if isinstance(stage, TokenizerStage):
        own = reconstruct(stage.tokenizer, features, stage.previous).float()
        return [features[0], torch.cat([features[0, :1], own[0]])]
    if not isinstance(stage, PredictorStage) or stage.tokenizer is None:
        return None
    context = min(stage.context, features.shape[1] - 1)
    tokens = stage.tokens({'features': features})[:, :context]
    table = time_table(times - times[:, context - 1:context], stage.frequencies)
    generator = torch.Generator().manual_seed(stage.seed)
    steps = features.shape[1] - context
    drawn = 1 if stage.queries == 'kept' else steps
    noise = NOISE_STD * torch.randn(
        1, SAMPLES, drawn, stage.world.noise_size, generator=generator).to(features.device)
    futures = stage.world.rollout(tokens, table, noise.expand(-1, -1, steps, -1))
    own = decode_chain(stage.tokenizer, futures[0].float(), features[:, context - 1])
    return [features[0], *(torch.cat([features[0, :context], future]) for future in own)]


def decode_chain(tokenizer: Tokenizer, tokens: Tensor, start: Tensor) -> Tensor:
    """Decode token sequences (M, S, Dz) from one frame's features (1, N, D): (M, S, N, D)."""
    current, decoded = start.expand(len(tokens), -1, -1), []
    for step in range(tokens.shape[1]):
        current = tokenizer.decode(tokens[:, step], current).float()
        decoded.append(current)
    return torch.stack(decoded, dim=1)


def components(rows: list[Tensor], grid: tuple[int, int]) -> list[np.ndarray]:
    """Colour feature maps by the first row's three principal components, (F, h, w, 3) uint8."""
    true = rows[0].flatten(0, 1).double()
    mean = true.mean(0)
    vectors = torch.linalg.eigh((true - mean).T @ (true - mean))[1][:, -3:]
    values = (true - mean) @ vectors
    low, high = values.amin(0), values.amax(0)
    painted = []
    for row in rows:
        scaled = ((row.double() - mean) @ vectors - low) / (high - low).clamp_min(1e-6)
        image = (255.0 * scaled.clamp(0.0, 1.0)).byte().unflatten(1, grid)
        painted.append(image.cpu().numpy())
    return painted
