# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Compare forecasts with what then came while the robot runs, beside assuming no change."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle import Manifest
from deltaworld_ros.forecast.differences import depth_sums, mean_squared

METRICS = ('features', 'classes', 'depth')
PERIOD = 1.0    # s between two forecasts that are scored: each costs some of the robot's time
WINDOW = 30.0   # s of recent comparisons that a score is the mean of
# Fewer comparisons say nothing yet.
MIN_FORECASTS = 5
# Smaller errors are noise: in a scene that stands still no forecast is better or worse than
# another. Features by their mean square, classes by the share of pixels, depth by the truth.
FLOORS = (1e-3, 2e-3, 5e-3)


@dataclass(frozen=True)
class Maps:
    """Features (N, D), class ids (a, b) and depth (a, b) in the bundle's metres of one moment."""

    features: NDArray[np.float32]
    labels: NDArray[np.uint8]
    depth: NDArray[np.float32]


@dataclass(frozen=True)
class LeadScore:
    """
    Errors of one lead over the window, by metric: of the forecasts, and of copy-last.

    `features` is the mean squared difference divided by the features' mean square, `classes` the
    share of pixels of another class, `depth` the mean of |error| / truth outside the sky.
    """

    forecasts: int
    error: dict[str, float]
    copy_last: dict[str, float]

    @property
    def skill(self) -> dict[str, float]:
        """Return 1 - error / error of copy-last by metric; each error is at least its floor."""
        return {
            metric: 1 - max(self.error[metric], floor) / max(self.copy_last[metric], floor)
            for metric, floor in zip(METRICS, FLOORS, strict=True)}

    @property
    def least_skill(self) -> float:
        """Return the least of the skills."""
        return min(self.skill.values())


@dataclass
class _Waiting:
    """A forecast, what it was made from, and the places of the leads that have not come."""

    stamp_ns: int
    present: Maps
    ahead: list[Maps]
    places: list[int]


class SelfScore:
    """
    Scores one forecast a second at each lead; for use by one thread.

    The truth of a lead is the first frame with no nearer one to be expected, if it comes within
    half a stride of stamp + lead. Stamps are in nanoseconds. What the bundle's own heads read from
    the true frame is the truth: it judges the forecast, not the reading of a scene.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._leads_ns = [round(lead * 1e9) for lead in manifest.leads]
        self._leads = manifest.leads
        self._stride_ns = round(manifest.stride * 1e9)
        self._range = manifest.depth_minimum, manifest.depth_maximum
        names = [one.name for one in manifest.classes]
        self._sky = names.index('sky') if 'sky' in names else -1
        self._waiting: list[_Waiting] = []
        self._newest_ns: int | None = None
        self._interval_ns = 0
        self._kept_ns: int | None = None
        # For each lead stamp and sums (metrics, error | copy-last | weight) of comparisons.
        self._compared: list[deque[tuple[int, NDArray[np.float64]]]] = [
            deque() for _ in self._leads]

    def forget(self) -> None:
        """Discard the forecasts that wait: the context begins anew."""
        self._waiting = []
        self._newest_ns, self._interval_ns = None, 0

    def advance(self, stamp_ns: int) -> None:
        """Take note of the next frame, before anything is asked about it."""
        self._interval_ns = 0 if self._newest_ns is None else stamp_ns - self._newest_ns
        self._newest_ns = stamp_ns
        for one in self._waiting:
            one.places = [place for place in one.places
                          if stamp_ns - self._target(one, place) < self._stride_ns / 2]
        self._waiting = [one for one in self._waiting if one.places]

    @property
    def awaited(self) -> bool:
        """Say whether the newest frame shows what a forecast that waits was about."""
        return any(self._decided(one) for one in self._waiting)

    @property
    def due(self) -> bool:
        """Say whether a forecast from the newest frame is to be kept and scored."""
        assert self._newest_ns is not None
        return self._kept_ns is None or \
            not 0 <= self._newest_ns - self._kept_ns < round(PERIOD * 1e9)

    def keep(self, present: Maps, ahead: Sequence[Maps]) -> None:
        """Wait for the future of a forecast from the newest frame, one entry a lead."""
        assert self._newest_ns is not None
        self._kept_ns = self._newest_ns
        self._waiting.append(
            _Waiting(self._newest_ns, present, list(ahead), list(range(len(self._leads)))))

    def compare(self, truth: Maps) -> None:
        """Compare what waits for the newest frame with it."""
        assert self._newest_ns is not None
        for one in self._waiting:
            decided = self._decided(one)
            for place in decided:
                self._compared[place].append((self._newest_ns, np.stack(
                    [self._differences(one.ahead[place], truth),
                     self._differences(one.present, truth)])))
            one.places = [place for place in one.places if place not in decided]
        self._waiting = [one for one in self._waiting if one.places]

    def scores(self) -> dict[float, LeadScore]:
        """Return the scores of the leads (s) that were compared within the window."""
        assert self._newest_ns is not None
        found = {}
        for lead, compared in zip(self._leads, self._compared, strict=True):
            # A recording that is played in a loop goes back in time.
            while compared and not 0 <= self._newest_ns - compared[0][0] <= round(WINDOW * 1e9):
                compared.popleft()
            if compared:
                sums = np.sum([one for _, one in compared], axis=0)   # (2, metrics, 2)
                error, still = (sums[..., 0] / np.maximum(sums[..., 1], 1e-12)).tolist()
                found[lead] = LeadScore(
                    len(compared), dict(zip(METRICS, error, strict=True)),
                    dict(zip(METRICS, still, strict=True)))
        return found

    def _target(self, one: _Waiting, place: int) -> int:
        return one.stamp_ns + self._leads_ns[place]

    def _decided(self, one: _Waiting) -> list[int]:
        """Return the places of the leads that no later frame will be nearer to."""
        assert self._newest_ns is not None
        near = min(self._interval_ns / 2, self._stride_ns / 2)
        return [place for place in one.places
                if self._target(one, place) - self._newest_ns < near]

    def _differences(self, forecast: Maps, truth: Maps) -> NDArray[np.float64]:
        """Return the summed error and its weight of each metric (metrics, 2)."""
        square: Any = mean_squared(truth.features, np.zeros((), np.float32))
        depth = np.where(truth.labels == self._sky, np.nan, truth.depth)
        pixels, _, relative, _ = depth_sums(forecast.depth, depth, *self._range)
        return np.array([
            [mean_squared(forecast.features, truth.features), square],
            [np.count_nonzero(forecast.labels != truth.labels), truth.labels.size],
            [relative, pixels]], np.float64)
