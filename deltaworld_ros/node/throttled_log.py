# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A log that a bad stream of messages cannot flood."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Hashable
from types import TracebackType
from typing import Any

REPEAT_PERIOD = 5.0    # s between equal lines, and in the long run between lines of one kind
BURST = 5              # lines of one kind that may come at once
MAX_KINDS = 100
MAX_LINE = 400         # characters


class ThrottledLog:
    """
    Writes warnings and errors to a ROS logger, few of each kind; from any thread.

    A kind is what went wrong, without the figures and names that vary from message to message.
    Nothing is written once `active` says that the process is ending.
    """

    def __init__(self, logger: Any, active: Callable[[], bool] = lambda: True,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._active = active
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: dict[Hashable, _Kind] = {}

    def info(self, line: str) -> None:
        """Write a line that no message from outside can cause often."""
        if self._active():
            self._logger.info(clip(line))

    def warn(self, kind: Hashable, line: str) -> None:
        """Write a warning of some kind, unless too many came lately."""
        shown = self._admit(kind, line)
        if shown:
            self._logger.warning(shown)

    def error(self, kind: Hashable, line: str) -> None:
        """Write an error of some kind, unless too many came lately."""
        shown = self._admit(kind, line)
        if shown:
            self._logger.error(shown)

    def _admit(self, kind: Hashable, line: str) -> str:
        """Return the line as it is to be written, or nothing."""
        if not self._active():
            return ''
        line = clip(line)
        with self._lock:
            if kind not in self._kinds and len(self._kinds) >= MAX_KINDS:
                del self._kinds[next(iter(self._kinds))]
            left_out = self._kinds.setdefault(kind, _Kind()).admit(line, self._clock())
        if left_out is None:
            return ''
        return line + (f' ({left_out} more like this were not logged)' if left_out else '')


class NamedLog(ThrottledLog):
    """Writes to another log, each line with a name before it and kinds of its own."""

    def __init__(self, log: ThrottledLog, name: str) -> None:
        self._log, self._name = log, name

    def info(self, line: str) -> None:
        """See `ThrottledLog.info`."""
        self._log.info(f'{self._name}: {line}')

    def warn(self, kind: Hashable, line: str) -> None:
        """See `ThrottledLog.warn`."""
        self._log.warn((self._name, kind), f'{self._name}: {line}')

    def error(self, kind: Hashable, line: str) -> None:
        """See `ThrottledLog.error`."""
        self._log.error((self._name, kind), f'{self._name}: {line}')


class _Kind:
    """The lines of one kind: a budget that refills, and the line that was written last."""

    def __init__(self) -> None:
        self._budget = float(BURST)
        self._refilled = self._written = -float('inf')
        self._line = ''
        self._left_out = 0

    def admit(self, line: str, now: float) -> int | None:
        """Return how many lines were left out before this one, or None to leave it out too."""
        self._budget = min(BURST, self._budget + (now - self._refilled) / REPEAT_PERIOD)
        self._refilled = now
        repeated = line == self._line and now - self._written < REPEAT_PERIOD
        if repeated or self._budget < 1:
            self._left_out += 1
            return None
        self._budget -= 1
        self._line, self._written = line, now
        left_out, self._left_out = self._left_out, 0
        return left_out


def clip(text: str) -> str:
    """Return a text as one line of at most `MAX_LINE` characters."""
    text = ' '.join(text.split())
    return text if len(text) <= MAX_LINE else f'{text[:MAX_LINE - 3]}...'


def in_one_line(error: Exception) -> str:
    """Return an error of rclpy without the places in its C sources, and what to do about it."""
    text = clip(re.sub(r',? at /\S+:\d+', '', str(error)))
    # In a home that cannot be written, or where there is none.
    if 'log directory' in text or 'logging directory' in text:
        text += '; name a folder that can be written: export ROS_LOG_DIR=/tmp/ros_log'
    return text


def kind_of(error: BaseException) -> tuple[str, int]:
    """Return file and line that raised an error: its kind, whatever its text says."""
    place: TracebackType | None = error.__traceback__
    if place is None:
        return type(error).__name__, 0
    while place.tb_next is not None:
        place = place.tb_next
    return place.tb_frame.f_code.co_filename, place.tb_lineno
