# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The street world: deterministic by its seed, with a state that can be saved and branched."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from deltaworld_training.street import scene
from deltaworld_training.street.appearance import sample_appearance
from deltaworld_training.street.driving import Driving
from deltaworld_training.street.layout import sample_layout
from deltaworld_training.street.pedestrians import (
    CHOICE_ODDS,
    CHOICES,
    CROSS,
    Pedestrians,
    Walking,
    draw_choice,
    spawn_pedestrians,
)
from deltaworld_training.street.routes import Routes
from deltaworld_training.street.scenery import build_scenery
from deltaworld_training.street.spawning import apart, spawn_vehicles
from deltaworld_training.street.vehicles import (
    EVENTS,
    ROUTES,
    STEP,
    Vehicles,
    draw_event,
    draw_route,
    event_odds,
    route_odds,
)

# Both splits differ in everything that a seed draws: roads, scenery, light, camera, agents.
TEST_SEEDS = range(0, 100_000)
TRAIN_SEEDS = range(1_000_000, 2**31)
LATER = 0.1  # s from the ego's place to the next one, which tell its motion
_WARM_UP = 12  # steps before time 0, so that agents already move
_ROUTE_DISTANCE = 55.0  # m before a stop line where a route is open


@dataclass
class State:
    """What a snapshot holds: everything that changes with time."""

    time: float
    vehicles: Vehicles
    walkers: Pedestrians
    generator: dict[str, Any]
    body: np.ndarray  # pitch (rad) and lift (m) of the ego's body, and their rates


@dataclass(frozen=True)
class Choice:
    """One open hidden intent: its agent, what it decides and the odds of each option."""

    agent: int  # index into the vehicles, or into the pedestrians where kind is 'walk'
    kind: str  # 'route', 'event' or 'walk'
    options: tuple[str, ...]
    odds: tuple[float, ...]


Intents = dict[tuple[int, str], str]  # {(agent, kind): option}


class StreetWorld:
    """A street with an ego vehicle (vehicle 0), traffic and pedestrians; time is in seconds."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._rng = np.random.default_rng([seed, 2026])
        rng = self._rng
        self.appearance = sample_appearance(rng)
        self.layout = sample_layout(rng)
        self.scenery = build_scenery(self.layout, rng, self.appearance.foliage)
        self.routes = Routes(self.layout, rng)
        self.camera = scene.sample_camera(rng)
        self.driving, self.walking = Driving(self.routes), Walking(self.layout)
        self.time = -_WARM_UP * STEP
        self.vehicles = spawn_vehicles(self.layout, self.routes, self.driving, self.time, rng)
        count = int(rng.integers(4, 13)) if self.layout.main.section.sidewalk > 0 else 0
        self.walkers = spawn_pedestrians(self.layout, self.vehicles.s[0] + 12, count, rng)
        self.body = np.zeros(4)
        for i in range(len(self.vehicles)):
            draw_event(self.vehicles, i, self.time, rng, self._lanes)
        for i in range(count):
            draw_choice(self.walkers, i, self.time, rng)
        for _ in range(_WARM_UP):
            self._advance()
        self.vehicles.select(apart(self.vehicles, self.routes, 0.3))

    @property
    def _lanes(self) -> bool:
        """Whether there are lanes to change to."""
        return self.layout.main.section.lanes_forward > 1

    # Time

    def _advance(self) -> None:
        rng, vehicles, walkers = self._rng, self.vehicles, self.walkers
        self.driving.decide(vehicles, self.time, rng, self._lanes)
        if len(walkers):
            poses = vehicles.poses(self.routes)
            sizes = np.stack([vehicles.length, vehicles.width], 1)
            self.walking.advance(walkers, self.time, STEP, poses, sizes, vehicles.v, rng)
        self.driving.advance(vehicles, self.time, self.walking.obstacles(walkers))
        self._shake(rng.normal(size=2))
        self.time += STEP

    def _shake(self, kick: np.ndarray) -> None:
        """Move the ego's body on its springs: nodding under braking, bouncing on the road."""
        kick = kick * min(1.0, .2 + self.vehicles.v[0] / 20)
        pitch, lift, pitch_rate, lift_rate = self.body
        nod = .0045 * self.vehicles.a[0]
        pitch_rate += STEP * (-30 * (pitch + nod) - 6 * pitch_rate) + .006 * kick[0]
        lift_rate += STEP * (-40 * lift - 7 * lift_rate) + .02 * kick[1]
        self.body = np.array([pitch + STEP * pitch_rate, lift + STEP * lift_rate, pitch_rate,
                              lift_rate])

    def step(self, dt: float = STEP) -> None:
        """Advance by a multiple of the fixed simulation step of 0.1 s."""
        count = round(dt / STEP)
        if count < 1 or abs(count * STEP - dt) > 1e-6:
            raise ValueError(f'dt is {dt} s; it must be a multiple of {STEP} s')
        for _ in range(count):
            self._advance()

    def advance_to(self, time: float) -> float:
        """Step to the last simulation step not after `time`; return the remainder in seconds."""
        if time < self.time - 1e-6:
            raise ValueError(f'time {time} s lies before the world time {self.time:.1f} s')
        while self.time + STEP <= time + 1e-6:
            self._advance()
        return max(0.0, time - self.time)

    # Snapshots and branches

    def snapshot(self) -> State:
        """Return a copy of everything that changes with time."""
        return State(self.time, self.vehicles.copy(), self.walkers.copy(),
                     copy.deepcopy(dict(self._rng.bit_generator.state)), self.body.copy())

    def restore(self, state: State) -> None:
        """Go back (or on) to a snapshot of this world."""
        self.time = state.time
        self.vehicles, self.walkers = state.vehicles.copy(), state.walkers.copy()
        self._rng.bit_generator.state = copy.deepcopy(state.generator)
        self.body = state.body.copy()

    def branch(self, branch_seed: int, intents: Intents | None = None) -> None:
        """Draw all hidden intents again from now on; the past and the present stay the same.

        `intents` fixes some of them, as listed by `choices` or `branches`; a fixed event or walk
        happens at once.
        """
        self._rng = np.random.default_rng([self.seed, 2027, branch_seed])
        rng, vehicles = self._rng, self.vehicles
        for i in range(len(vehicles)):
            if vehicles.slow_until[i] > self.time and rng.uniform() < .5:
                vehicles.slow_until[i] = self.time + rng.uniform(0, 1.5)
            draw_event(vehicles, i, self.time, rng, self._lanes)
            junction, options = self._open_routes(i)
            if options:
                self.driving.set_route(vehicles, i, junction, draw_route(rng, options))
        for i in range(len(self.walkers)):
            if self.walkers.mode[i] != CROSS:
                draw_choice(self.walkers, i, self.time, rng)
        for (agent, kind), option in (intents or {}).items():
            self._fix(agent, kind, option)

    def _open_routes(self, i: int) -> tuple[int, list[str]]:
        """Return the next junction of vehicle i and the turns that it can still make there."""
        junction, distance = self.driving.next_junction(self.vehicles, i)
        if junction < 0 or distance > _ROUTE_DISTANCE:
            return junction, []
        return junction, self.driving.route_options(self.vehicles, i, junction)

    def _fix(self, agent: int, kind: str, option: str) -> None:
        if kind == 'walk':
            self.walkers.choice[agent] = CHOICES.index(option)
            self.walkers.choice_time[agent] = self.time
        elif kind == 'event':
            self.vehicles.event[agent] = EVENTS.index(option)
            self.vehicles.event_time[agent] = self.time
        elif kind == 'route':
            junction, _ = self.driving.next_junction(self.vehicles, agent)
            self.driving.set_route(self.vehicles, agent, junction, ROUTES.index(option))
        else:
            raise ValueError(f'unknown intent {kind!r}; known are route, event and walk')

    def choices(self, reach: float = 60.0) -> list[Choice]:
        """Return the hidden intents open now of agents within `reach` m, nearest first."""
        ego = self.vehicles.poses(self.routes)[:, :2]
        distance = np.hypot(*(ego - ego[0]).T)
        found: list[tuple[float, Choice]] = []
        for i in np.flatnonzero(distance < reach).tolist():
            odds = event_odds(self.vehicles, i, self._lanes)
            possible = np.flatnonzero(odds)
            found.append((distance[i], Choice(i, 'event', tuple(
                EVENTS[k] for k in possible), tuple(odds[possible].tolist()))))
            _, options = self._open_routes(i)
            if options:
                found.append((distance[i], Choice(i, 'route', ('straight', *options),
                                                  route_odds(options))))
        for i in np.flatnonzero(self.walkers.mode != CROSS).tolist():
            here = self.layout.main.at(self.walkers.s[i], self.walkers.t[i])[:2]
            away = float(np.hypot(*(here - ego[0])))
            if away < reach:
                found.append((away, Choice(i, 'walk', CHOICES, CHOICE_ODDS)))
        return [choice for _, choice in sorted(found, key=lambda item: item[0])]

    def branches(self, most: int = 3) -> list[tuple[Intents, float]]:
        """Return every combination of the nearest `most` open intents with its probability."""
        open_choices = self.choices()[:most]
        result = []
        for picks in itertools.product(*(range(len(c.options)) for c in open_choices)):
            pairs = list(zip(open_choices, picks, strict=True))
            intents = {(c.agent, c.kind): c.options[k] for c, k in pairs}
            result.append((intents, float(np.prod([c.odds[k] for c, k in pairs]))))
        return sorted(result, key=lambda item: -item[1])

    # What the renderer needs

    def ego_places(self, ahead: float = 0.0) -> np.ndarray:
        """Return x, y (m) and heading (rad) of the ego `ahead` s from now, and `LATER` (2, 3)."""
        return np.stack([self.vehicles.poses(self.routes, moment)[0, [0, 1, 3]]
                         for moment in (ahead, ahead + LATER)])

    def ego_camera(self, ahead: float = 0.0) -> np.ndarray:
        """Return the camera pose (4, 4), optical frame to world, `ahead` seconds from now."""
        vehicle = self.vehicles.poses(self.routes, ahead)[0]
        path, s = self.vehicles.path[:1], self.vehicles.s[:1]
        nose, tail = self.routes.pose(path, s + 3)[0], self.routes.pose(path, s - 3)[0]
        pitch, lift, pitch_rate, lift_rate = self.body
        return scene.camera_pose(self.camera, vehicle, (nose[2] - tail[2]) / 6,
                                 pitch + pitch_rate * ahead, lift + lift_rate * ahead)

    def moving_instances(self, ahead: float = 0.0) -> dict[str, np.ndarray]:
        """Return the instance tables of all agents and signals, `ahead` seconds from now."""
        return scene.moving_instances(self.vehicles, self.walkers, self.layout, self.routes,
                                      self.scenery.lamps, self.time, ahead)
