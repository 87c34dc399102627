# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The ego under control: it follows its route at the speed that it is let drive."""

from __future__ import annotations

import numpy as np

from deltaworld_training.street.driving import ACCELERATION
from deltaworld_training.street.vehicles import STEP
from deltaworld_training.street.world import StreetWorld

EGO = 0
BRAKING = 5.0      # m/s2, the hardest that it brakes
_COMFORTABLE = 2.0   # m/s2, with which its planner brakes before stop lines
_LOOK_AHEAD = 4.0    # m over which the curvature of the route is taken


def planned_speed(world: StreetWorld) -> float:
    """Return the speed (m/s) that a planner wants who knows the route and sees no traffic."""
    vehicles, routes = world.vehicles, world.routes
    path, s = vehicles.path[:1], vehicles.s[:1]
    stop = float(world.driving.stop_lines(vehicles, world.time)[EGO])
    before_line = np.sqrt(2 * _COMFORTABLE * max(stop - 0.5, 0.0))
    return float(min(vehicles.desired[EGO], routes.speed_limit(path, s)[0], before_line))


def curvature(world: StreetWorld) -> float:
    """Return the curvature (1/m, left is positive) of the route ahead."""
    vehicles = world.vehicles
    path, s = vehicles.path[EGO], vehicles.s[EGO]
    here, there = world.routes.pose(np.array([path] * 2), np.array([s, s + _LOOK_AHEAD]))[:, 3]
    turn = (there - here + np.pi) % (2 * np.pi) - np.pi
    return float(turn / _LOOK_AHEAD)


def drive(world: StreetWorld, speed: float, steps: int) -> None:
    """Advance a world by steps of 0.1 s while the ego goes for a speed (m/s)."""
    for _ in range(steps):
        vehicles = world.vehicles
        s, v = float(vehicles.s[EGO]), float(vehicles.v[EGO])
        a = float(np.clip((speed - v) / STEP, -BRAKING, ACCELERATION))
        world.step()
        vehicles = world.vehicles
        vehicles.v[EGO], vehicles.a[EGO] = max(0.0, v + a * STEP), a
        vehicles.s[EGO] = s + 0.5 * (v + vehicles.v[EGO]) * STEP
