# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bounds while the robot runs: learned from the nearest frame, in time, and forgotten well."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from deltaworld_ros.forecast.live_bound import LiveBound
from deltaworld_ros.forecast.obstacle_bound import LEAST, ObstacleBound

MANIFEST: Any = SimpleNamespace(leads=(0.2, 0.4), stride=0.2, depth_maximum=80.0)


def drive(stamps: list[float], seed: int = 0) -> tuple[list[int], np.ndarray, list[list]]:
    """Return stamps (ns), what is seen (n, 3) m, and the bounds of forecasts 10 % too far."""
    random = np.random.default_rng(seed)
    live, seen, bounds = LiveBound(MANIFEST), random.uniform(5, 60, (len(stamps), 3)), []
    stamps_ns = [round(1e9 * stamp) for stamp in stamps]
    for stamp_ns, present in zip(stamps_ns, seen, strict=True):
        live.see(stamp_ns, present)
        bounds.append(live.bound(stamp_ns, [1.1 * present, 1.2 * present]))
    return stamps_ns, seen, bounds


def test_it_learns_what_has_come_from_the_nearest_frame() -> None:
    random = np.random.default_rng(1)
    stamps = (np.arange(60) * 0.1 + random.uniform(-0.03, 0.03, 60)).tolist()
    stamps_ns, seen, found = drive(stamps)
    for place, (lead, factor) in enumerate(((0.2, 1.1), (0.4, 1.2))):
        bound, learned = ObstacleBound(80.0), 0
        lowers: list = []
        for number, stamp in enumerate(stamps_ns):
            while stamps_ns[learned] + lead * 1e9 <= stamp:
                target = stamps_ns[learned] + lead * 1e9
                nearest = int(np.abs(np.array(stamps_ns) - target).argmin())
                if abs(stamps_ns[nearest] - target) <= 5e7:
                    bound.learn(factor * seen[learned], lowers[learned], seen[nearest])
                learned += 1
            lowers.append(bound.bound(factor * seen[number]))
            one = found[number][place]
            assert one.alarm == bound.alarm and one.coverage == bound.recent_coverage
            if lowers[-1] is None:
                assert one.distances is None
            else:
                np.testing.assert_array_equal(one.distances, lowers[-1])
        assert learned > LEAST and lowers[-1] is not None and lowers[0] is None


def test_frames_too_far_from_the_lead_teach_nothing() -> None:
    _, _, found = drive((np.arange(40) * 0.27).tolist())
    assert all(one.distances is None for bounds in found for one in bounds)


def test_what_waits_is_forgotten_and_what_was_learned_is_not() -> None:
    live, present = LiveBound(MANIFEST), np.full(3, 20.0)
    for number in range(LEAST + 2):
        live.see(number * 200_000_000, present)
        live.bound(number * 200_000_000, [present, present])
    live.forget()
    # Much later, and as if time had gone back: nothing of before is compared with it.
    live.see(100_000_000, np.full(3, 1.0))
    found = live.bound(100_000_000, [present, present])
    assert found[0].distances is not None and found[0].coverage == 1.0
