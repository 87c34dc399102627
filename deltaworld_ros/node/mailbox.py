# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The frames that wait while one is in work: the newest, and those that its context may need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deltaworld_ros.forecast.frame_gate import Restart, Verdict

MAX_WAITING = 10


@dataclass(frozen=True)
class WaitingFrame:
    """An image message and its stamp in nanoseconds."""

    message: Any
    stamp_ns: int


@dataclass(frozen=True)
class Batch:
    """
    Frames to work on: a forecast is due from the last one, the others may help its context.

    `verdict` holds for the first of them.
    """

    verdict: Verdict
    frames: list[WaitingFrame]


class Mailbox:
    """
    Keeps the newest frame, and older ones half a stride apart, no older than a context.

    A forecast may take longer than a stride; with the frames of that time its successor still gets
    a whole context. `stride` is in seconds. Not safe for several threads: the worker locks it.
    """

    def __init__(self, stride: float, context_length: int) -> None:
        self._spacing_ns = round(stride * 5e8)
        self._horizon_ns = round((context_length - 1) * stride * 1.5e9)
        self._frames: list[WaitingFrame] = []
        self._verdict = Verdict()

    def __bool__(self) -> bool:
        return bool(self._frames)

    def put(self, frame: WaitingFrame, verdict: Verdict) -> int:
        """Add a frame that a gate let pass; return how many others it displaced for good."""
        before = len(self._frames) + 1
        kept = [one for one in self._frames if one.stamp_ns < frame.stamp_ns]
        if verdict.resumed and len(kept) < len(self._frames):
            # The misdated frame still waits: nobody has seen it, and there is nothing to resume.
            self._frames = [*kept, frame]
            if not kept and verdict.undone is self._verdict.restart:
                self._verdict = Verdict()
            return before - len(self._frames)
        if verdict.restart or verdict.resumed:
            self._frames = [frame]
            if self._verdict.restart is None:
                self._verdict = verdict
            return before - 1
        if len(self._frames) > 1 and \
                self._frames[-1].stamp_ns - self._frames[-2].stamp_ns < self._spacing_ns:
            self._frames.pop()
        oldest = frame.stamp_ns - self._horizon_ns
        kept = [one for one in self._frames if one.stamp_ns >= oldest]
        self._frames = [*kept[1 - MAX_WAITING:], frame]
        return before - len(self._frames)

    def clear(self, restart: Restart | None = None) -> int:
        """Forget what waits and begin anew, for some reason; return how many frames waited."""
        number = len(self._frames)
        self._frames = []
        if restart is not None:
            self._verdict = Verdict(restart)
        return number

    def take(self) -> Batch:
        """Take all that waits."""
        batch = Batch(self._verdict, self._frames)
        self._frames, self._verdict = [], Verdict()
        return batch
