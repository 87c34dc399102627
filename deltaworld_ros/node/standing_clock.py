# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Notice a simulated clock that stands still."""

from __future__ import annotations

import time

from rclpy.clock import Clock


class StandingClock:
    """Tells for how long a simulated clock has not moved."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._time = -1
        self._moved = time.monotonic()

    def seconds(self) -> float:
        """Return the seconds since the clock moved; 0 for a clock that is not simulated."""
        now = self._clock.now().nanoseconds
        if now != self._time or not self._clock.ros_time_is_active:
            self._time, self._moved = now, time.monotonic()
        return time.monotonic() - self._moved
