# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Counts, rates, ages and times of one running camera stream, from any thread, without rclpy."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from deltaworld_ros.forecast.frame_gate import Odd, Restart
from deltaworld_ros.forecast.live_bound import LeadBound
from deltaworld_ros.forecast.self_score import WINDOW, LeadScore

RATE_WINDOW = 5.0        # s over which rates, the largest age and what happened lately are taken
TIMINGS_KEPT = 200       # newest times of each stage behind p50 and p95


@dataclass(frozen=True)
class Snapshot:
    """
    The statistics at one moment; rates in 1/s, ages in s, times in ms.

    What ends in `lately` counts the last RATE_WINDOW.
    """

    received: int
    dropped: int
    refused: int
    accepted: int
    context_only: int              # of those accepted: they only helped another frame's context
    lost: int                      # messages that the middleware reports as lost
    published: int
    forecasts: int                 # of those published: not only the present
    engine_failures: int
    input_rate: float
    usable_rate: float             # of the images that were not odd
    output_rate: float
    forecast_rate: float
    age: float | None              # of the newest output when it was published
    largest_age: float | None      # of the outputs of the last RATE_WINDOW, signed
    context_fill: int
    breaks: int                    # contexts that broke although no frame was missing
    restarts: Mapping[Restart, int]
    odd: Mapping[Odd, int]
    restarts_lately: Mapping[Restart, int]
    odd_lately: Mapping[Odd, int]
    lost_lately: int
    breaks_lately: int
    decoder_runs: int
    percentiles: Mapping[str, tuple[float, float]]   # stage: p50, p95
    error: str                     # the last one, '' before any
    engine_failing: bool           # the newest frame met an engine failure
    refused_lately: bool           # a message was refused within RATE_WINDOW
    ahead_wanted: bool             # somebody listens to more than the present
    without_context: float         # s since the context was whole, or the activation
    without_forecast: float        # s since a forecast, the activation, or somebody listened
    scores: Mapping[float, LeadScore]   # self-score by lead (s); empty where there is none lately
    bounds: Mapping[float, LeadBound]   # newest bounds by lead (s); empty as above


class Statistics:
    """Collects what `Snapshot` shows."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._restarts: Counter[Restart] = Counter()
        self._odd: Counter[Odd] = Counter()
        self._timings: dict[str, deque[float]] = {}
        self._error = ''
        self.start()

    def start(self) -> None:
        """Begin rates, ages and the context anew: the node was activated or deactivated."""
        with self._lock:
            self._started = self._whole_at = self._forecast_at = self._clock()
            # Moments of what happened within RATE_WINDOW, by what it was.
            self._recent: dict[object, deque[float]] = {}
            self._outputs: deque[tuple[float, float]] = deque()   # moment, age
            self._fill = 0
            self._engine_failing = self._ahead_wanted = False
            self._scores: Mapping[float, LeadScore] = {}
            self._bounds: Mapping[float, LeadBound] = {}
            self._scored_at = self._bounded_at = self._started

    def received(self) -> None:
        """Count an image that arrived."""
        with self._lock:
            self._count('received')

    def odd(self, kind: Odd) -> None:
        """Count an image that was left out for its stamp or source."""
        with self._lock:
            self._odd[kind] += 1
            self._note(kind)

    @property
    def odd_lately(self) -> int:
        """Return the number of odd images within RATE_WINDOW."""
        with self._lock:
            return sum(self._lately(kind) for kind in Odd)

    def usable(self) -> None:
        """Count an image that continues the context or begins a new one."""
        with self._lock:
            self._note('usable')

    def dropped(self, number: int = 1) -> None:
        """Count images that newer ones displaced before the model was free."""
        with self._lock:
            self._counts['dropped'] += number

    def lost(self, number: int) -> None:
        """Count messages that the middleware lost on their way."""
        with self._lock:
            for _ in range(min(number, 1000)):
                self._count('lost')

    def refused(self, error: str) -> None:
        """Count a message that cannot be used."""
        with self._lock:
            self._count('refused')
            self._error = error

    def accepted(self, context_fill: int, whole: bool, *, context_only: bool = False) -> None:
        """Count an image that the model observed, and the links that its context has."""
        with self._lock:
            self._counts['accepted'] += 1
            self._counts['context_only'] += context_only
            self._fill = context_fill
            if whole:
                self._whole_at = self._clock()

    def broke(self) -> None:
        """Count a context that broke although no frame was missing."""
        with self._lock:
            self._count('breaks')

    def restarted(self, reason: Restart) -> None:
        """Count a restart of the context."""
        with self._lock:
            self._restarts[reason] += 1
            self._note(reason)
            self._fill = 0

    def resumed(self, undone: Restart | None) -> None:
        """Count the last frame as odd, and the restart that it caused as none."""
        with self._lock:
            if undone is not None:
                self._restarts[undone] -= 1
                if self._recent.get(undone):
                    self._recent[undone].pop()
            self._odd[Odd.AHEAD] += 1
            self._note(Odd.AHEAD)

    def engine_failed(self, error: str) -> None:
        """Count a frame that the engine could not compute."""
        with self._lock:
            self._counts['engine_failures'] += 1
            self._error = error
            self._engine_failing = True

    def published(self, age: float, *, forecast: bool) -> None:
        """Count an input for which at least one output was published."""
        with self._lock:
            self._counts['published'] += 1
            now = self._clock()
            self._outputs.append((now, age))
            if forecast:
                self._count('forecasts')
                self._forecast_at = now

    def wanted(self, ahead: bool) -> None:
        """Keep whether somebody listens to more than the present."""
        with self._lock:
            if ahead and not self._ahead_wanted:
                self._forecast_at = self._clock()
            self._ahead_wanted = ahead

    def scored(self, scores: Mapping[float, LeadScore]) -> None:
        """Keep the newest self-score."""
        with self._lock:
            self._scores, self._scored_at = scores, self._clock()

    def bounded(self, bounds: Mapping[float, LeadBound]) -> None:
        """Keep the newest bounds of the nearest obstacles."""
        with self._lock:
            self._bounds, self._bounded_at = bounds, self._clock()

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
        """Return the statistics of this moment."""
        with self._lock:
            now = self._clock()
            span = max(1e-3, min(RATE_WINDOW, now - self._started))
            while self._outputs and self._outputs[0][0] < now - RATE_WINDOW:
                self._outputs.popleft()
            counts = self._counts
            return Snapshot(
                received=counts['received'], dropped=counts['dropped'],
                refused=counts['refused'], accepted=counts['accepted'],
                context_only=counts['context_only'], lost=counts['lost'],
                published=counts['published'], forecasts=counts['forecasts'],
                engine_failures=counts['engine_failures'],
                input_rate=self._lately('received') / span,
                usable_rate=self._lately('usable') / span,
                output_rate=len(self._outputs) / span,
                forecast_rate=self._lately('forecasts') / span,
                age=self._outputs[-1][1] if self._outputs else None,
                largest_age=max((age for _, age in self._outputs), key=abs, default=None),
                context_fill=self._fill, breaks=counts['breaks'],
                restarts={kind: number for kind, number in self._restarts.items() if number},
                odd=dict(self._odd),
                restarts_lately={kind: number for kind in Restart
                                 if (number := self._lately(kind))},
                odd_lately={kind: number for kind in Odd if (number := self._lately(kind))},
                lost_lately=self._lately('lost'), breaks_lately=self._lately('breaks'),
                decoder_runs=counts['decoder_runs'],
                percentiles={
                    stage: (float(np.percentile(values, 50)), float(np.percentile(values, 95)))
                    for stage, values in self._timings.items()},
                error=self._error, engine_failing=self._engine_failing,
                refused_lately=self._lately('refused') > 0, ahead_wanted=self._ahead_wanted,
                without_context=now - self._whole_at,
                without_forecast=now - self._forecast_at,
                scores=self._scores if now - self._scored_at <= WINDOW else {},
                bounds=self._bounds if now - self._bounded_at <= WINDOW else {})

    def _count(self, what: str) -> None:
        self._counts[what] += 1
        self._note(what)

    def _note(self, what: object) -> None:
        self._recent.setdefault(what, deque()).append(self._clock())
        self._lately(what)   # forgets what is older

    def _lately(self, what: object) -> int:
        moments = self._recent.get(what, deque())
        while moments and moments[0] < self._clock() - RATE_WINDOW:
            moments.popleft()
        return len(moments)
