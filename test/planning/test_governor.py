# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The speed governor: what it lets through, and each of its fallbacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.road_scenes import INTRINSICS, MOUNT, ROLES, Box, forecast

from deltaworld_ros.planning.governor import Basis, Decision, Rules, Scene, SpeedGovernor
from deltaworld_ros.planning.obstacles import future_obstacles
from deltaworld_ros.planning.points import lead_cameras
from deltaworld_ros.planning.pose import mount_of_text
from deltaworld_ros.planning.risk import Braking, Trust

RULES = Rules(braking=Braking(reaction=0.5, deceleration=4.0, standstill=1.0), half_width=1.0,
              front=1.0, level=0.2, safe_speed=0.5, acceleration=2.0, hold=0.4)
STAMP = 10.0
FREE: list[Box] = []


def scene(futures: list[list[list[Box]]], present: list[Box],
          weights: list[float] | None = None) -> Scene:
    result = forecast(futures, present, weights)
    cameras = lead_cameras(mount_of_text(MOUNT), None, result.leads)
    return Scene(STAMP, result.leads, result.weights,
                 future_obstacles(result, INTRINSICS, cameras, ROLES))


def highest(what: Scene | None, *, now: float = STAMP + 0.1, speed: float = 10.0,
            rules: Rules = RULES) -> Decision:
    return SpeedGovernor(rules).highest_speed(now, speed, 0.0, what)


PARKED = scene([[[Box(14, 0)]] * 3], [Box(14, 0)])
COMING = scene([[FREE, FREE, FREE], [FREE, FREE, [Box(14, 0)]]], FREE, [0.7, 0.3])


def test_it_can_stop_before_what_stands_there():
    """13 m are free of which 1 m is kept: 12 m are the way to stop from 8 m/s."""
    found = highest(PARKED)
    assert found.basis is Basis.FORECAST and found.speed == pytest.approx(8.0, abs=0.26)
    assert highest(PARKED, speed=3.0).speed == 3.0


def test_it_slows_for_what_comes_in_a_future_that_weighs_enough():
    assert highest(COMING).speed == pytest.approx(8.0, abs=0.4)
    unlikely = scene([[FREE] * 3, [FREE, FREE, [Box(14, 0)]]], FREE, [0.98, 0.02])
    assert highest(unlikely).speed == 10.0


def test_a_forecast_alone_never_makes_it_faster():
    leaving = scene([[[Box(14, 5)], FREE, FREE]], [Box(14, 0)])
    assert highest(leaving).speed == pytest.approx(8.0, abs=0.26)
    assert highest(leaving, rules=replace(RULES, trust=Trust(release=True))).speed == 10.0


def test_without_obstacles_it_falls_back_to_the_safe_speed():
    found = highest(None)
    assert (found.speed, found.basis) == (0.5, Basis.SAFE_SPEED)
    assert 'no obstacles have arrived' in found.reason


def test_a_stale_forecast_falls_back_to_its_present_maps():
    found = highest(COMING, now=STAMP + 0.5)
    assert (found.speed, found.basis) == (10.0, Basis.PRESENT)
    assert 'the forecast is 0.50 s old, limit 0.4 s' in found.reason
    assert highest(PARKED, now=STAMP + 0.5).speed == pytest.approx(8.0, abs=0.26)


@pytest.mark.parametrize('now', [STAMP + 0.9, STAMP - 5])
def test_a_stale_scene_falls_back_to_the_safe_speed(now: float):
    found = highest(PARKED, now=now)
    assert (found.speed, found.basis) == (0.5, Basis.SAFE_SPEED)
    assert 'obstacles are' in found.reason


def test_a_context_that_fills_counts_by_its_present_maps():
    present = PARKED.obstacles.where(PARKED.obstacles.lead == 0)
    found = highest(replace(PARKED, leads=(0.0,), weights=np.ones(1, np.float32),
                            obstacles=present))
    assert found.basis is Basis.PRESENT and 'no forecast yet' in found.reason
    assert found.speed == pytest.approx(8.0, abs=0.26)


@pytest.mark.parametrize('weights', [[], [0.7, np.nan], [0.7, 0.7], [-0.3, 1.3], [1.0]])
def test_invalid_weights_fall_back_to_the_present_maps(weights: list[float]):
    found = highest(replace(COMING, weights=np.array(weights, np.float32)))
    assert (found.speed, found.basis) == (10.0, Basis.PRESENT)
    assert 'weights' in found.reason


def test_points_that_are_not_finite_fall_back_to_the_safe_speed():
    broken = replace(PARKED.obstacles, points=PARKED.obstacles.points * np.float32(np.nan))
    assert highest(replace(PARKED, obstacles=broken)).basis is Basis.SAFE_SPEED


def test_reversing_and_broken_commands():
    governor = SpeedGovernor(RULES)
    assert governor.limit(STAMP, -2.0, 0.0, PARKED).speed == -0.5
    assert governor.limit(STAMP, -0.2, 0.0, PARKED).speed == -0.2
    assert governor.limit(STAMP, float('nan'), 0.0, PARKED).speed == 0.0


def test_a_turn_looks_along_its_circle():
    """A car 14 m straight ahead is not in the way of a tight turn."""
    governor = SpeedGovernor(RULES)
    assert governor.highest_speed(STAMP, 10.0, 2.0, PARKED).speed == 10.0


def test_speed_falls_at_once_and_rises_late_and_slowly():
    governor = SpeedGovernor(RULES)
    free = scene([[FREE] * 3], FREE)

    def step(now: float, what: Scene) -> float:
        return governor.limit(now, 6.0, 0.0, replace(what, stamp=now)).speed

    near = scene([[[Box(6, 0)]] * 3], [Box(6, 0)])
    times = STAMP + 0.1 * np.arange(60)
    speeds = [step(now, free) for now in times[:50]]
    assert speeds[0] == 0.0 and speeds[3] == 0.0 and speeds[-1] == 6.0
    assert np.diff(speeds).max() == pytest.approx(0.2)
    low = step(times[50], near)
    assert low < 4.0
    # One free frame is not enough to go faster again.
    assert step(times[51], free) == low
    assert step(times[52], near) == low
    assert [step(now, free) for now in times[53:57]] == [low] * 4
    assert step(times[58], free) > low
