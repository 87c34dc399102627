# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One moment of a drive for the report: what was seen, what was forecast and what really came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

# Futures of a moment that a report can show as pictures, where the bundle paints.
PAINTED_FUTURES = 3
# The moments between which the report's slider moves.
SLIDER_MOMENTS = 30


@dataclass(frozen=True)
class Moment:
    """
    Pictures (h,w,3) and maps (a,b) of one forecast at one lead.

    `seconds` is the time since the start of the recording and `lead` how far ahead the forecast
    looks, both in seconds. Futures come first in `labels` (K,a,b), by descending weight, and in
    `features` (n,N,D), which holds the heaviest few where they are to be painted. `recording`
    names the recording where there are several.
    """

    seconds: float
    lead: float
    image: np.ndarray
    future_image: np.ndarray
    present_labels: np.ndarray
    present_depth: np.ndarray
    fused_labels: np.ndarray
    fused_depth: np.ndarray
    confidence: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    true_labels: np.ndarray
    true_depth: np.ndarray
    recording: str = ''
    features: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0), np.float16))


class MomentKeeper:
    """Keeps about `wanted` moments of a drive of unknown length, evenly spread over it."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._kept: list[Moment] = []
        self._every = 1
        self._offered = 0

    def offer(self, make: Callable[[], Moment]) -> None:
        """Take the next moment if it is due; it is made only then."""
        if self._wanted and self._offered % self._every == 0:
            self._kept.append(make())
            if len(self._kept) == 4 * self._wanted:
                del self._kept[1::2]
                self._every *= 2
        self._offered += 1

    def chosen(self) -> list[Moment]:
        """Return at most the wanted number, evenly spread over what was offered."""
        count = min(self._wanted, len(self._kept))
        places = np.linspace(0, len(self._kept) - 1, count)
        return [self._kept[round(place)] for place in places]


class WorstMoments:
    """Keeps the `wanted` moments with the greatest losses."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._kept: list[tuple[float, Moment]] = []

    def offer(self, loss: float | None, make: Callable[[], Moment]) -> None:
        """Take the next moment if it is among the worst so far; it is made only then."""
        if loss is None or not self._wanted:
            return
        if len(self._kept) == self._wanted:
            if loss <= self._kept[-1][0]:
                return
            self._kept.pop()
        self._kept.append((loss, make()))
        self._kept.sort(key=lambda one: -one[0])

    def chosen(self) -> list[tuple[float, Moment]]:
        """Return losses and moments, the worst first."""
        return self._kept


def save_moments(path: Path, moments: Sequence[Moment]) -> None:
    """Write moments to an .npz file."""
    arrays: dict[str, Any] = {
        f'{index:04d}.{field.name}': np.asarray(getattr(moment, field.name))
        for index, moment in enumerate(moments) for field in fields(Moment)}
    np.savez(path, **arrays)


def load_moments(path: Path) -> list[Moment]:
    """Read what `save_moments` wrote."""
    with np.load(path, allow_pickle=False) as archive:
        groups: dict[str, dict[str, Any]] = {}
        for key in archive.files:
            number, _, name = key.partition('.')
            groups.setdefault(number, {})[name] = archive[key]
    for values in groups.values():
        values.update(seconds=float(values['seconds']), lead=float(values['lead']),
                      recording=str(values['recording']))
    return [Moment(**groups[number]) for number in sorted(groups)]
