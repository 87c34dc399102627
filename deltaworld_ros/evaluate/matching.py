# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Find for each forecast the frames that show what really came."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Frame = TypeVar('Frame')
Prediction = TypeVar('Prediction')

# Stamps jitter: a frame is accepted a little beyond half of the interval between two.
_SLACK = 1.05


@dataclass(frozen=True)
class Matched(Generic[Prediction, Frame]):
    """A forecast with the frame of each lead and its distance from stamp + lead in ns."""

    stamp: int
    forecast: Prediction
    frames: list[Frame]
    offsets: list[int]


@dataclass
class _Waiting(Generic[Prediction, Frame]):
    stamp: int
    forecast: Prediction
    frames: list[Frame] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)


class FutureMatcher(Generic[Prediction, Frame]):
    """
    Matches forecasts with the frames nearest to stamp + lead; the earlier of two equally near.

    A frame must be at most half a frame interval (the median so far) and a quarter of the first
    lead away. Forecasts that lack a frame at any lead are counted in `unmatched`. Leads are in
    seconds, stamps in nanoseconds and ascending.
    """

    def __init__(self, leads: Sequence[float]) -> None:
        self._leads = [round(lead * 1e9) for lead in leads]
        self._frames: deque[tuple[int, Frame]] = deque()
        self._intervals: list[int] = []   # ascending: sorting anew for each lead would take long
        self._waiting: list[_Waiting[Prediction, Frame]] = []
        self.unmatched = 0

    def add_frame(self, stamp: int, frame: Frame) -> list[Matched[Prediction, Frame]]:
        """Take in the next frame and return the forecasts whose last lead it decides."""
        if self._frames:
            insort(self._intervals, stamp - self._frames[-1][0])
        self._frames.append((stamp, frame))
        # A frame may be the truth of any forecast that is not older than the last lead.
        while stamp - self._frames[0][0] > self._leads[-1]:
            self._frames.popleft()
        return list(self._decide(stamp))

    def add_forecast(self, stamp: int, forecast: Prediction) -> None:
        """Take in a forecast made from the newest frame."""
        self._waiting.append(_Waiting(stamp, forecast))

    @property
    def waiting(self) -> bool:
        """Say whether any forecast waits for its future."""
        return bool(self._waiting)

    def end(self) -> list[Matched[Prediction, Frame]]:
        """Return what the last frames decide and forget everything: a drive ends here."""
        matched = list(self._decide(None))
        self.unmatched += len(self._waiting)
        self._waiting.clear()
        self._frames.clear()
        self._intervals.clear()
        return matched

    def _decide(self, now: int | None) -> Iterator[Matched[Prediction, Frame]]:
        still_waiting = []
        for entry in self._waiting:
            state = self._look(entry, now)
            if state is None:
                still_waiting.append(entry)
            elif state:
                yield Matched(entry.stamp, entry.forecast, entry.frames, entry.offsets)
            else:
                self.unmatched += 1
        self._waiting = still_waiting

    def _look(self, entry: _Waiting[Prediction, Frame], now: int | None) -> bool | None:
        """Find frames of the leads that have passed: True complete, False lost, None waiting."""
        while len(entry.frames) < len(self._leads):
            target = entry.stamp + self._leads[len(entry.frames)]
            if now is not None and now < target:
                return None
            if not self._frames:
                return False
            stamp, frame = min(self._frames, key=lambda one: abs(one[0] - target))
            if abs(stamp - target) > self._tolerance():
                return False
            entry.frames.append(frame)
            entry.offsets.append(stamp - target)
        return True

    def _tolerance(self) -> float:
        count = len(self._intervals)
        middle = self._intervals[(count - 1) // 2:count // 2 + 1]
        interval = sum(middle) / len(middle) if middle else 0
        return min(interval / 2 * _SLACK, self._leads[0] / 4)
