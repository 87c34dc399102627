# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What happens to the ego in an episode, forced where the world itself is careful."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deltaworld_training.closed_loop.ego import EGO, planned_speed
from deltaworld_training.street.driving import ACCELERATION
from deltaworld_training.street.pedestrians import CROSS, WAIT
from deltaworld_training.street.vehicles import CYCLIST
from deltaworld_training.street.world import StreetWorld

CALM, CROSSING, BRAKING, CUT_IN = SCENARIOS = ('calm', 'crossing', 'braking lead', 'cut-in')
# Nothing is left to a pedestrian who never steps out of his own accord before a car.
_NEVER = 1e9
_MIN_SPEED = 5.0   # m/s; below it there is nothing to brake for


@dataclass(frozen=True)
class Scenario:
    """What is forced, on which agent, and when (s)."""

    name: str
    agent: int = -1
    time: float = 0.0
    rate: float = 0.0   # m/s2 of a braking lead


def prepare(world: StreetWorld, rng: np.random.Generator) -> Scenario:
    """Choose a scenario that the world offers, each alike, and place its agent at time 0."""
    vehicles = world.vehicles
    # The ego keeps to its lane and speed of its own accord; the governor alone slows it.
    vehicles.event_time[EGO] = _NEVER
    vehicles.slow_until[EGO] = -_NEVER
    possible = [CALM]
    if vehicles.v[EGO] >= _MIN_SPEED:
        if len(world.walkers) and vehicles.path[EGO] in world.routes.forward:
            possible.append(CROSSING)
        if _leads(world).size:
            possible.append(BRAKING)
        if _neighbours(world).size:
            possible.append(CUT_IN)
    name = possible[int(rng.integers(len(possible)))]
    time = round(float(rng.uniform(0.8, 1.6)), 1)
    if name == CROSSING:
        return Scenario(name, _place_walker(world, rng, time), time)
    if name == BRAKING:
        return Scenario(name, int(_leads(world)[0]), time, float(rng.uniform(4.0, 6.5)))
    if name == CUT_IN:
        return Scenario(name, _place_neighbour(world, rng), time)
    return Scenario(name)


def trigger(world: StreetWorld, scenario: Scenario) -> None:
    """Let it happen, at its time."""
    vehicles, walkers, i = world.vehicles, world.walkers, scenario.agent
    if scenario.name == CROSSING:
        section = world.layout.main.section
        edge = section.left_edge if walkers.t[i] < 0 else section.right_edge
        walkers.mode[i] = CROSS
        walkers.home[i] = -np.sign(walkers.t[i]) * (edge + 1.0)
    elif scenario.name == BRAKING:
        vehicles.slow_to[i], vehicles.slow_rate[i] = 0.0, scenario.rate
        vehicles.slow_until[i] = world.time + 20
    elif scenario.name == CUT_IN:
        own = world.routes.pose(vehicles.path[EGO], vehicles.s[i])
        pose = vehicles.poses(world.routes)[i]
        away = pose[:2] - own[:2]
        vehicles.shift[i] = -np.sin(own[3]) * away[0] + np.cos(own[3]) * away[1]
        vehicles.shift_start[i] = vehicles.s[i]
        vehicles.shift_length[i] = 2.2 * max(vehicles.v[i], 4.0)
        vehicles.path[i] = vehicles.base[i] = vehicles.path[EGO]


def _leads(world: StreetWorld) -> np.ndarray:
    """Return the nearest vehicle in the ego's lane, if it is near."""
    vehicles = world.vehicles
    ahead = vehicles.s - vehicles.s[EGO]
    same = (vehicles.path == vehicles.path[EGO]) & (ahead > 8) & (ahead < 45)
    same &= (np.abs(vehicles.side) < 1) & (vehicles.v > 3)
    found = np.flatnonzero(same)
    return found[np.argsort(ahead[found])][:1]


def _neighbours(world: StreetWorld) -> np.ndarray:
    """Return vehicles on other lanes of the ego's direction."""
    vehicles = world.vehicles
    others = [path for path in world.routes.forward if path != vehicles.path[EGO]]
    return np.flatnonzero(np.isin(vehicles.path, others) & (vehicles.kind != CYCLIST))


def _place_walker(world: StreetWorld, rng: np.random.Generator, time: float) -> int:
    """Put a pedestrian at the kerb where he and the ego meet if neither reacts."""
    walkers, section, vehicles = world.walkers, world.layout.main.section, world.vehicles
    right = rng.uniform() < 0.7
    edge = section.right_edge if right else section.left_edge
    i = int(rng.integers(len(walkers)))
    walkers.t[i] = (-1 if right else 1) * (edge + 0.7)
    walkers.pace[i] = rng.uniform(1.6, 2.6)
    lane = section.lane_offset(world.routes.forward.index(int(vehicles.path[EGO])))
    meeting = time + 0.5 + abs(walkers.t[i] - lane) / walkers.pace[i] + rng.uniform(-0.4, 0.4)
    speed, planned = float(vehicles.v[EGO]), planned_speed(world)
    rising = min(meeting, max(0.0, planned - speed) / ACCELERATION)
    way = speed * meeting + ACCELERATION * rising * (meeting - 0.5 * rising)
    walkers.s[i] = vehicles.s[EGO] + way + 0.5 * vehicles.length[EGO]
    walkers.mode[i], walkers.v[i] = WAIT, 0.0
    walkers.yaw[i] = np.pi / 2 if right else -np.pi / 2
    walkers.choice_time[i] = _NEVER
    return i


def _place_neighbour(world: StreetWorld, rng: np.random.Generator) -> int:
    """Put a vehicle of another lane a little ahead of the ego, a little slower."""
    vehicles, candidates = world.vehicles, _neighbours(world)
    i = int(candidates[np.abs(vehicles.s[candidates] - vehicles.s[EGO]).argmin()])
    vehicles.v[i] = vehicles.desired[i] = vehicles.v[EGO] * rng.uniform(0.55, 0.8)
    room = 0.5 * (vehicles.length[EGO] + vehicles.length[i])
    vehicles.s[i] = vehicles.s[EGO] + room + rng.uniform(9.0, 16.0)
    vehicles.event_time[i] = _NEVER
    # Nobody may stand where it is put, nor in the gap that it goes into.
    near = np.abs(vehicles.s - vehicles.s[i]) < 12
    near &= np.isin(vehicles.path, world.routes.forward)
    near[[EGO, i]] = False
    vehicles.select(~near)
    return i - int(near[:i].sum())
