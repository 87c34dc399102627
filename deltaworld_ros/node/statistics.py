# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Counts, rates, ages and times of the running node, from any thread, without rclpy."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

RATE_WINDOW = 5.0        # s over which rates and the largest age are taken
TIMINGS_KEPT = 200       # newest times of each stage behind p50 and p95


@dataclass(frozen=True)
class Snapshot:
    """The statistics at one moment; rates in 1/s, ages in s, times in ms."""

    received: int
    dropped: int
    refused: int
    accepted: int
    published: int
    engine_failures: int
    input_rate: float
    output_rate: float
    age: float | None              # of the newest output when it was published
    largest_age: float | None      # of the outputs of the last RATE_WINDOW
    context_fill: int
    restarts: Mapping[str, int]    # by reason
    decoder_runs: int
    percentiles: Mapping[str, tuple[float, float]]   # stage: p50, p95
    error: str                     # the last one, '' before any
    engine_failing: bool           # the newest frame met an engine failure
    refused_lately: bool           # a message was refused within RATE_WINDOW


class Statistics:
    """Collects what `Snapshot` shows."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._restarts: Counter[str] = Counter()
        self._timings: dict[str, deque[float]] = {}
        self._error = ''
        self._engine_failing = False
        self._refused_at = -float('inf')
        self.start()

    def start(self) -> None:
        """Begin rates, ages and the context anew: the node was activated or deactivated."""
        with self._lock:
            self._started = self._clock()
            self._inputs: deque[float] = deque()
            self._outputs: deque[tuple[float, float]] = deque()   # moment, age
            self._fill = 0
            self._engine_failing = False

    def received(self) -> None:
        """Count an image that arrived."""
        with self._lock:
            self._counts['received'] += 1
            self._inputs.append(self._clock())
            self._trim()

    def dropped(self) -> None:
        """Count an image that a newer one displaced before the model was free."""
        with self._lock:
            self._counts['dropped'] += 1

    def refused(self, error: str) -> None:
        """Count a message that cannot be used."""
        with self._lock:
            self._counts['refused'] += 1
            self._error = error
            self._refused_at = self._clock()

    def accepted(self, context_fill: int) -> None:
        """Count an image that the model observed."""
        with self._lock:
            self._counts['accepted'] += 1
            self._fill = context_fill

    def restarted(self, reason: str) -> None:
        """Count a restart of the context under its reason, less the reason's figures."""
        with self._lock:
            self._restarts[re.split(' (?:by|of|from) ', reason)[0]] += 1
            self._fill = 0

    def engine_failed(self, error: str) -> None:
        """Count a frame that the engine could not compute."""
        with self._lock:
            self._counts['engine_failures'] += 1
            self._error = error
            self._engine_failing = True

    def published(self, age: float) -> None:
        """Count an input for which at least one output was published."""
        with self._lock:
            self._counts['published'] += 1
            self._outputs.append((self._clock(), age))
            self._trim()

    def decoded(self) -> None:
        """Count a run of the decode graph."""
        with self._lock:
            self._counts['decoder_runs'] += 1

    def took(self, timings: Mapping[str, float]) -> None:
        """Keep the times of the stages of one frame, in ms: it was computed to its end."""
        with self._lock:
            self._engine_failing = False
            for stage, value in timings.items():
                self._timings.setdefault(stage, deque(maxlen=TIMINGS_KEPT)).append(value)

    def snapshot(self) -> Snapshot:
        """Give the statistics of this moment."""
        with self._lock:
            self._trim()
            now = self._clock()
            span = max(1e-3, min(RATE_WINDOW, now - self._started))
            counts = self._counts
            return Snapshot(
                received=counts['received'], dropped=counts['dropped'],
                refused=counts['refused'], accepted=counts['accepted'],
                published=counts['published'], engine_failures=counts['engine_failures'],
                input_rate=len(self._inputs) / span, output_rate=len(self._outputs) / span,
                age=self._outputs[-1][1] if self._outputs else None,
                largest_age=max((age for _, age in self._outputs), default=None),
                context_fill=self._fill, restarts=dict(self._restarts),
                decoder_runs=counts['decoder_runs'],
                percentiles={
                    stage: (float(np.percentile(values, 50)), float(np.percentile(values, 95)))
                    for stage, values in self._timings.items()},
                error=self._error, engine_failing=self._engine_failing,
                refused_lately=now - self._refused_at < RATE_WINDOW)

    def _trim(self) -> None:
        oldest = self._clock() - RATE_WINDOW
        while self._inputs and self._inputs[0] < oldest:
            self._inputs.popleft()
        while self._outputs and self._outputs[0][0] < oldest:
            self._outputs.popleft()
