# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The axes of the report's plots have round numbers."""

import re

import numpy as np
import pytest

from deltaworld_ros.evaluate.plots import Line, plot, ticks


@pytest.mark.parametrize(('low', 'high', 'expected'), [
    (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
    (-0.1, 0.31, [-0.1, 0.0, 0.1, 0.2, 0.3]),
    (0.0, 0.6, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
    (0.0, 2.0, [0.0, 0.5, 1.0, 1.5, 2.0]),
    (-3.0, 45.0, [0.0, 10.0, 20.0, 30.0, 40.0]),
])
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    """Multiples of 1, 2, 2.5 or 5 times a power of ten, 0 among them where it is inside."""
    assert ticks(low, high) == expected


def test_any_range_has_a_few_ticks() -> None:
    """Three to seven of them, all inside and evenly spaced."""
    random = np.random.default_rng(0)
    for _ in range(500):
        low = random.normal() * 10.0 ** random.integers(-3, 4)
        high = low + 10.0 ** random.uniform(-3, 4)
        found = ticks(low, high)
        assert 3 <= len(found) <= 7, (low, high)
        assert low - 1e-6 <= found[0] and found[-1] <= high + 1e-6
        assert np.allclose(np.diff(found), found[1] - found[0])


def test_a_plot_names_its_ticks() -> None:
    """The numbers beside both axes are the ticks."""
    svg = plot([Line('a', 'red', [(0.2, 0.1), (0.6, 0.3)])], 's', 'skill', (0.0, 0.6),
               (-0.1, 0.31), reference=0.0)
    assert re.findall(r'text-anchor="end">([^<]*)<', svg) == ['-0.1', '0', '0.1', '0.2', '0.3']
