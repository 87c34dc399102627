# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Batches of frames for the stages, from any mixture of sources."""

import lightning
from torch.utils.data import DataLoader

from deltaworld_training.data.batches import ClipItems
from deltaworld_training.data.loader import batch_loader, default_workers
from deltaworld_training.data.open_source import Drawing, SourceSettings, open_source


class ClipData(lightning.LightningDataModule):
    """
    Endless training batches of frames, a pure function of (seed, step).

    Each batch is a dict: 'frames' uint8 (B, F, h, w, 3) RGB and 'times' float64 (B, F) s; with
    `truth` also 'labels' uint8 (B, F, h/4, w/4), 255 unlabelled, and 'depth' float32 likewise,
    in metres for the canonical focal length, NaN unknown.
    """

    def __init__(
        self, sources: list[SourceSettings], batch: int, size: tuple[int, int],
        frames: int = 8, stride: float | None = None, truth: bool = False,
        focal_length: float = 0.0, workers: int | None = None, seed: int = 0,
    ):
        """
        Take the sources and how clips are drawn.

        batch: clips of one optimiser step, over all processes; size: (w, h) in pixels; frames:
        of a clip; stride: seconds between frames, or None for the paper's random offsets (1/25
        to 1/3 s); truth: give labels and depth, for `focal_length` in pixels at this width;
        workers: processes that load, None for this process's cores less one.
        """
        super().__init__()
        self.sources = sources
        self.batch = batch
        self.drawing = Drawing(size, frames, stride, seed)
        self.focal_length = focal_length if truth else None
        self.workers = workers

    def setup(self, stage: str) -> None:
        """Open the sources."""
        self.datasets = [
            ClipItems(open_source(source, self.drawing), self.focal_length)
            for source in self.sources
        ]

    def train_dataloader(self) -> DataLoader:
        """Return the batches of this rank from the trainer's step on."""
        workers = default_workers(self.trainer) if self.workers is None else self.workers
        return batch_loader(
            self.datasets, [source.weight for source in self.sources], self.batch,
            self.drawing.seed, workers, self.trainer)
