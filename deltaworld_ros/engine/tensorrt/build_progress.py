# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tell how far the build of an engine is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

# Told what is done, such as `observe: Optimizing graph`, the steps done in it and their number.
Progress = Callable[[str, int, int], None]

SECONDS_BETWEEN_LINES = 5.0


class ProgressLines:
    """A `Progress` that logs a line every few seconds, and nothing of a short build."""

    def __init__(self, log: Callable[[str], None],
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._next = clock() + SECONDS_BETWEEN_LINES

    def __call__(self, phase: str, step: int, steps: int) -> None:
        """Take a step; log it where the last line is old enough."""
        now = self._clock()
        if now >= self._next:
            self._log(f'still building: {phase}, {step} of {steps}')
            self._next = now + SECONDS_BETWEEN_LINES


class BuildMonitor:
    """TensorRT's progress monitor of one build, which can be told to end it."""

    def __init__(self, library: Any, name: str, progress: Progress) -> None:
        cancelled = threading.Event()
        known: dict[str, int] = {}

        class Monitor(library.IProgressMonitor):
            def __init__(self) -> None:
                library.IProgressMonitor.__init__(self)

            def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
                known[phase] = steps

            def step_complete(self, phase: str, step: int) -> bool:
                # TensorRT counts from 0, and may do more steps than it said.
                progress(f'{name}: {phase}', step + 1, max(known.get(phase, 0), step + 1))
                return not cancelled.is_set()

            def phase_finish(self, phase: str) -> None:
                known.pop(phase, None)
        self.monitor = Monitor()
        self.cancel = cancelled.set
