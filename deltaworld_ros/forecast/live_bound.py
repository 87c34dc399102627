# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Lower bounds of the nearest obstacles of each forecast, learned from the frames that come."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from deltaworld_ros.bundle import Manifest
from deltaworld_ros.forecast.obstacle_bound import Distances, ObstacleBound


@dataclass(frozen=True)
class LeadBound:
    """
    The bound (b,) in m of a forecast at one lead, None before enough was learned.

    `coverage` is the share of the columns in which recent bounds held, None before there are any;
    `alarm` says that they failed too often.
    """

    distances: Distances | None
    coverage: float | None
    alarm: bool


class LiveBound:
    """
    Bounds the forecasts of one camera in their order; for use by one thread.

    What came of a forecast is what the bundle's own heads see in the frame nearest to stamp +
    lead, at most a quarter of a stride off. Stamps are in nanoseconds.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._leads_ns = [round(lead * 1e9) for lead in manifest.leads]
        self._farthest_ns = round(manifest.stride * 1e9) / 4
        self._bounds = [ObstacleBound(manifest.depth_maximum) for _ in manifest.leads]
        self._coming: list[deque[tuple[int, Distances, Distances | None]]]
        self._before: tuple[int, Distances] | None
        self.forget()

    def forget(self) -> None:
        """Discard the forecasts that wait; what was learned stays."""
        self._coming = [deque() for _ in self._leads_ns]
        self._before = None

    def see(self, stamp_ns: int, present: Distances) -> None:
        """Learn from the next frame, whose distances are `present` (b,) m."""
        seen = [(stamp_ns, present)] if self._before is None else [
            self._before, (stamp_ns, present)]
        for bound, coming in zip(self._bounds, self._coming, strict=True):
            # No later frame will be nearer.
            while coming and coming[0][0] <= stamp_ns:
                target, forecast, lower = coming.popleft()
                came, truth = min(seen, key=lambda one: abs(one[0] - target))
                if abs(came - target) <= self._farthest_ns:
                    bound.learn(forecast, lower, truth)
        self._before = stamp_ns, present

    def bound(self, stamp_ns: int, ahead: Sequence[Distances]) -> list[LeadBound]:
        """Return the bounds of a forecast from the frame last seen, one (b,) a lead."""
        found = []
        for place, forecast in enumerate(ahead):
            one = self._bounds[place]
            lower = one.bound(forecast)
            self._coming[place].append((stamp_ns + self._leads_ns[place], forecast, lower))
            found.append(LeadBound(lower, one.recent_coverage, one.alarm))
        return found
