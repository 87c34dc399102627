# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A progress bar with samples a second, the time left and the share of waiting for data."""

import time
from typing import Any

import lightning
from lightning.pytorch.callbacks import Timer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# The shown rates are averages over about this many steps.
MEMORY = 50


class StageProgress(lightning.Callback):
    """Show and log how fast a stage trains."""

    def __init__(self, title: str):
        """Take the title of the bar."""
        self.title = title
        self.progress: Progress | None = None
        self.timer: Timer | None = None
        self.duration = self.waiting = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Open the bar on the first process."""
        self.ended = time.perf_counter()
        self.duration = self.waiting = 0.0
        if trainer.is_global_zero:
            self.progress = Progress(
                TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
                TimeRemainingColumn(), TextColumn('{task.fields[figures]}'))
            self.timer = next(
                (c for c in trainer.callbacks if isinstance(c, Timer)), None)  # type: ignore[attr-defined]
            self.task = self.progress.add_task(
                self.title, total=self.total(trainer), completed=self.done(trainer), figures='')
            self.progress.start()

    def total(self, trainer: lightning.Trainer) -> float | None:
        """Return the steps of the training, or its seconds where those end it."""
        if self.timer is not None:
            return self.timer.time_elapsed() + (self.timer.time_remaining() or 0.0)
        return None if trainer.max_steps < 0 else trainer.max_steps

    def done(self, trainer: lightning.Trainer) -> int:
        """Return how much of the total is done."""
        return trainer.global_step if self.timer is None else int(self.timer.time_elapsed())

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: Any, batch: Any, batch_idx: int,
    ) -> None:
        """Count the time since the last batch as waiting."""
        self.started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the bar."""
        now = time.perf_counter()
        share = 1.0 / min(MEMORY, batch_idx + 1)
        self.duration += share * (now - self.ended - self.duration)
        self.waiting += share * (self.started - self.ended - self.waiting)
        self.ended = now
        size = len(next(iter(batch.values()))) * trainer.world_size
        rate = size / max(self.duration, 1e-9)
        pl_module.log_dict({
            'samples_per_second': rate, 'waiting': self.waiting / max(self.duration, 1e-9)})
        if self.progress is not None:
            shown = [f'{rate:.0f} samples/s']
            shown += [f'{name} {float(value):.4g}'
                      for name, value in trainer.progress_bar_metrics.items() if name != 'v_num']
            self.progress.update(
                self.task, completed=self.done(trainer), figures=', '.join(shown))

    def teardown(self, trainer: lightning.Trainer, pl_module: Any, stage: str) -> None:
        """Close the bar, however the training ended."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None
