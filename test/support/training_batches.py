# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny files and batches that every training stage can be run on in seconds."""

import time
from collections.abc import Callable
from pathlib import Path

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from deltaworld_ros.model.networks import build_part
from deltaworld_training.data.loader import batch_loader
from deltaworld_training.stages.parts import save_parts

GRID = (2, 4)
BACKBONE = {'kind': 'dinov3', 'size': 64, 'heads': 1, 'layers': 1, 'mlp_size': 64}
DELTA = {
    'kind': 'delta', 'grid': list(GRID), 'size': 64, 'heads': 1, 'layers': 1, 'mlp_size': 64,
    'layer_scale': 0.1}
WORLD = {
    'kind': 'deltaworld', 'size': 64, 'heads': 1, 'layers': 2, 'mlp_size': 64, 'token_size': 64,
    'layer_scale': 0.5}
HEADS = {
    'segmentation': {'kind': 'linear', 'size': 64, 'classes': 3},
    'depth': {'kind': 'linear', 'size': 64, 'minimum': 0.5, 'maximum': 20.0},
}


def save_random(folder: Path, part: str, sizes: dict, seed: int = 0) -> Path:
    """Write a part with random weights, whose every branch counts, as a stage would."""
    torch.manual_seed(seed)
    module = build_part(part, sizes)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0.0, max(parameter.shape[-1], 4) ** -0.5)
        if hasattr(module, 'black'):
            module.black.normal_()
    path = folder / f'{part}.safetensors'
    state = {f'{part}.{name}': value for name, value in module.state_dict().items()}
    save_parts(path, state, {part: sizes}, {})
    return path


def save_heads(folder: Path) -> Path:
    """Write both heads with random weights, as their stage would."""
    torch.manual_seed(0)
    parts = {name: build_part(name, sizes) for name, sizes in HEADS.items()}
    path = folder / 'heads.safetensors'
    save_parts(path, {f'{part}.{name}': value for part, module in parts.items()
                      for name, value in module.state_dict().items()}, HEADS, {})
    return path


def drifting(index: int) -> dict[str, np.ndarray]:
    """Return features of 8 frames that a hidden direction moves, with labels and depth."""
    generator = np.random.default_rng(index)
    start = generator.normal(size=(GRID[0] * GRID[1], 64))
    move = generator.choice([-1.0, 1.0]) * np.linspace(-1.0, 1.0, 64)
    times = np.cumsum(generator.uniform(0.04, 0.33, 8))
    features = start + (times - times[0])[:, None, None] * move
    mean = features[..., :3].reshape(8, *GRID, 3)
    return {
        'features': features.astype(np.float16), 'times': times,
        'labels': mean.argmax(-1).astype(np.uint8),
        'depth': (5.0 + mean[..., 0]).astype(np.float32),
    }


def moving_frames(index: int) -> dict[str, np.ndarray]:
    """Return 3 frames of 64 x 32 pixels over which a bright square moves."""
    generator = np.random.default_rng(index)
    frames = np.zeros((3, 32, 64, 3), np.uint8)
    x, y = generator.integers(0, 40), generator.integers(0, 16)
    for step in range(3):
        frames[step, y:y + 16, x + 4 * step:x + 4 * step + 16] = 255
    return {'frames': frames, 'times': 0.2 * np.arange(3)}


class Samples(Dataset):
    """As many samples as asked for, each made from its index."""

    def __init__(self, make: Callable[[int], dict[str, np.ndarray]], pause: float):
        self.make = make
        self.pause = pause

    def __len__(self) -> int:
        """Return the number of samples."""
        return 64

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return one sample."""
        time.sleep(self.pause)
        return {name: torch.as_tensor(value) for name, value in self.make(index).items()}


class TinyData(lightning.LightningDataModule):
    """Endless batches of made samples, drawn as the real data modules draw theirs."""

    def __init__(
        self, make: Callable[[int], dict[str, np.ndarray]] = drifting, batch: int = 8,
        seed: int = 0, pause: float = 0.0, ranks: Path | None = None,
    ):
        """
        Take what makes a sample, the global batch, and seconds that a sample costs.

        ranks: a folder in which each process leaves a file with its rank and their number.
        """
        super().__init__()
        self.make, self.batch, self.seed, self.pause = make, batch, seed, pause
        self.ranks = ranks

    def train_dataloader(self) -> DataLoader:
        """Return the batches of this rank from the trainer's step on."""
        trainer = self.trainer
        if self.ranks and trainer:
            (self.ranks / f'{trainer.global_rank}-of-{trainer.world_size}').touch()
        return batch_loader(
            [Samples(self.make, self.pause)], [1.0], self.batch, self.seed, 0,
            self.trainer)
