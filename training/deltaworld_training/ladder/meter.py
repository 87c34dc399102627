# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Measure what the training of one part takes: time a step and peak memory."""

import ctypes
import re
import time
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch

_STATUS = Path('/proc/self/status')
_RESET_PEAK = Path('/proc/self/clear_refs')


class Meter(lightning.Callback):
    """
    Time of training steps and the peak of memory above what was there before.

    On a GPU, time is wall time and memory what torch allocated. On CPUs, time is the time of
    all cores together, which other work on the machine disturbs less, and memory what the
    process held (Linux only; None elsewhere).
    """

    def __init__(self) -> None:
        """Start empty."""
        self.steps: list[float] = []
        self.memory: int | None = None
        self._before = 0
        self._started = 0.0

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Forget the peak of what ran before."""
        self._cuda = module.device.type == 'cuda'
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
        else:
            self._before = reset_peak()

    def on_train_batch_start(
        self, trainer: lightning.Trainer, module: Any, batch: Any, batch_idx: int,
    ) -> None:
        """Note when a step begins."""
        self._started = self._now()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int,
    ) -> None:
        """Note how long the step took."""
        self.steps.append(self._now() - self._started)

    def on_train_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Read the peak."""
        if self._cuda:
            self.memory = torch.cuda.max_memory_allocated() - self._before
        elif (peak := status_bytes('VmHWM')) is not None:
            self.memory = peak - self._before

    def result(self) -> dict[str, Any]:
        """Return the median seconds of a step, the seconds of all and the peak in bytes."""
        return {
            'step_seconds': float(np.median(self.steps)),
            'seconds': float(np.sum(self.steps)),
            'steps': len(self.steps),
            'peak_bytes': self.memory,
        }

    def _now(self) -> float:
        if self._cuda:
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()


def reset_peak() -> int:
    """Release freed memory, reset the peak and return the bytes that are held now."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        _RESET_PEAK.write_text('5')
    except (OSError, AttributeError):
        return 0
    return status_bytes('VmRSS') or 0


def status_bytes(name: str) -> int | None:
    """Return what Linux says of this process's memory, or None elsewhere."""
    try:
        found = re.search(rf'{name}:\s+(\d+) kB', _STATUS.read_text())
    except OSError:
        return None
    return 1024 * int(found.group(1)) if found else None
