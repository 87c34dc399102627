# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a scorer is: sums of one forecast that add up, and what follows from the sums."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from deltaworld_ros.evaluate.pairs import Pair

# By column or by another name of the scorer's own. Sums of any forecasts can be added, so bags
# may be scored in other processes and clips drawn again for an interval.
Sums = dict[str, np.ndarray]


class Scorer(Protocol):
    """One kind of score; it keeps nothing between two forecasts."""

    name: str

    def measure(self, pair: Pair) -> Sums:
        """Return what one forecast adds at one lead."""
        ...

    def scores(self, sums: Sums) -> dict[str, Any]:
        """Return the scores at one lead by metric: a value, or one a column; NaN is unknown."""
        ...

    def errors(self, sums: Sums) -> dict[str, dict[str, np.ndarray]]:
        """
        Return errors by metric and column whose ratio to copy-last makes a skill.

        Sums may have leading axes, (..., what `measure` returns), and so do the errors then.
        """
        ...


def add(total: Sums, more: Sums) -> None:
    """Add sums to a total in place."""
    for name, values in more.items():
        total[name] = total[name] + values if name in total else values


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide (...) by (...), NaN where the divisor is 0."""
    with np.errstate(divide='ignore', invalid='ignore'):
        return np.where(whole > 0, part / whole, np.nan)
