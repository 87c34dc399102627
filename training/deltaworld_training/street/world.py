# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The street world: deterministic by its seed, with a state that can be saved and branched."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from .appearance import sample_appearance
from .layout import sample_layout
from .meshes import VEHICLES
from .pedestrians import CHOICES, CROSS, Pedestrians, Walking, draw_choice, spawn_pedestrians
from .routes import Routes
from .scenery import (
    PEDESTRIAN,
    POLE,
    VEHICLE,
    build_scenery,
    instances,
    shadow_instances,
)
from .surfaces import KERB
from .vehicles import (
    EVENTS,
    KINDS,
    ROUTES,
    SIZES,
    STEP,
    Driving,
    Vehicles,
    discs,
    draw_event,
    draw_route,
    spawn,
)

TEST_SEEDS = range(0, 100_000)
TRAIN_SEEDS = range(1_000_000, 2**31)
WARM_UP = 12  # steps before time 0, so that agents already move


@dataclass(frozen=True)
class Camera:
    """A pinhole camera fixed to the ego vehicle."""

    height: float  # m above the road
    pitch: float  # rad, positive looks down
    roll: float
    yaw: float
    field_of_view: float  # horizontal, rad
    forward: float  # m ahead of the vehicle's middle


@dataclass
class State:
    """What a snapshot holds: everything that changes with time."""

    time: float
    vehicles: Vehicles
    walkers: Pedestrians
    generator: dict[str, Any]
    bounce: np.ndarray  # pitch and height deviations of the body, and their rates


@dataclass(frozen=True)
class Choice:
    """One open hidden intent: its agent, what it decides and the odds of each option."""

    agent: int
    kind: str  # 'route', 'event' or 'walk'
    options: tuple[str, ...]
    odds: tuple[float, ...]


class StreetWorld:
    """A street with an ego vehicle, traffic and pedestrians (test split: seeds < 100,000)."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = np.random.default_rng([seed, 2026])
        self.appearance = sample_appearance(rng)
        self.layout = sample_layout(rng)
        self.scenery = build_scenery(self.layout, rng, self.appearance.foliage)
        self.routes = Routes(self.layout, rng)
        self._lamps = np.array([(*lamp.position, lamp.yaw, lamp.junction, lamp.axis)
                                for lamp in self.scenery.lamps])
        self.camera = Camera(
            height=rng.uniform(1.15, 1.85), pitch=rng.normal(.025, .02), roll=rng.normal(0, .008),
            yaw=rng.normal(0, .012), field_of_view=np.deg2rad(rng.uniform(50, 95)),
            forward=rng.uniform(.1, .8))
        self.driving, self.walking = Driving(self.routes), Walking(self.layout)
        self._lanes = self.layout.main.section.lanes_forward > 1
        self._rng = rng
        self.time = -WARM_UP * STEP
        self.vehicles = self._spawn(rng)
        urban = self.layout.main.section.sidewalk > 0
        count = int(rng.integers(4, 13)) if urban else 0
        ahead = self.vehicles.s[0] + 12
        self.walkers = spawn_pedestrians(self.layout, ahead, count, rng)
        for i in range(count):
            draw_choice(self.walkers, i, self.time, rng)
        self.bounce = np.zeros(4)
        for _ in range(WARM_UP):
            self._advance()
        self._remove_overlaps()

    # Spawning

    def _spawn(self, rng: np.random.Generator) -> Vehicles:
        kind, section, routes = self.layout.kind, self.layout.main.section, self.routes
        fast = {'highway': (19, 31), 'rural': (13, 22), 'suburb': (7, 13)}.get(kind, (6, 14))
        lane = int(rng.integers(section.lanes_forward))
        ego = routes.forward[lane]
        start = rng.uniform(50, 90) if kind != 'highway' else rng.uniform(80, 300)
        if self.layout.junctions and rng.uniform() < .6:
            start = self.layout.junctions[0].s - rng.uniform(35, 80)
        cruise = rng.uniform(*fast)
        rows: list[tuple[int, int, float, float, float]] = [(0, ego, start, cruise, 0.0)]
        odds = np.array([.38, .24, .12, .10, .06, .03, .07] if kind in ('highway', 'rural')
                        else [.38, .24, .16, .08, .07, .05, .02])
        density = rng.uniform(.3, 1.0)

        def fill(path: int, low: float, high: float, spacing: float) -> None:
            place = low + rng.uniform(0, spacing)
            while place < high:
                which = int(rng.choice(7, p=odds))
                speed = cruise * rng.uniform(.8, 1.1)
                rows.append((which, path, place, speed, 0.0))
                place += SIZES[which, 0] + 8 + rng.exponential(spacing)

        spacing = (.9 * cruise + 4) / density
        for path in routes.forward:
            if path == ego:
                if rng.uniform() < .75:
                    fill(path, start + 13, start + 160, spacing)
                fill(path, start - 70, start - 35, 30)
            else:
                fill(path, start - 45, start + 150, spacing)
        for path in routes.backward:
            middle = routes.end[path] - start
            fill(path, middle - 220, middle + 5, spacing * .8)
        for path in routes.crossing:
            junction = routes.paths[path].junction
            stops = routes.stop_s[path]
            if np.isfinite(stops[0]) and abs(self.layout.junctions[junction].s - start) < 170:
                if rng.uniform() < .7 and routes.paths[path].turn == 'straight':
                    fill(path, max(stops[0] - 60, 3), stops[0] - 3, 14)
                elif rng.uniform() < .5:
                    rows.append((int(rng.choice(4)), path, stops[0] - rng.uniform(3, 12), 5., 0.))
        edge = section.lane_width / 2 + section.shoulder * .5
        if kind != 'highway' and rng.uniform() < .55:
            for path, place in ((routes.forward[-1], start + rng.uniform(12, 45)),
                                (routes.backward[-1], routes.end[routes.backward[-1]]
                                 - start - rng.uniform(20, 80))):
                rows.append((len(KINDS) - 1, path, place, rng.uniform(3.5, 6.5), -edge))
        rows = [row for row in rows if 2 < row[2] < routes.end[row[1]] - 12
                and not (row[1] in routes.crossing
                         and row[2] + SIZES[row[0], 0] / 2 > routes.stop_s[row[1], 0] - .5)]
        vehicles = spawn(*(list(column) for column in zip(*rows, strict=True)), rng)
        vehicles.v = np.minimum(vehicles.v, routes.speed_limit(vehicles.path, vehicles.s))
        limited = self._red_speed(vehicles)
        vehicles.v = np.minimum(vehicles.v, limited)
        vehicles.v *= rng.uniform(.65, 1.0, len(vehicles))
        keep = self._apart(vehicles, 2.5)
        vehicles.select(keep)
        for _ in range(4):  # nobody starts faster than the gap ahead allows
            gap, lead = self.driving.same_lane(vehicles)
            vehicles.v = np.minimum(vehicles.v, np.maximum(gap - 2, 0) / 1.4 + .3 * lead)
        for i in range(len(vehicles)):
            draw_event(vehicles, i, self.time, rng, self._lanes)
        return vehicles

    def _red_speed(self, vehicles: Vehicles) -> np.ndarray:
        """Return speeds from which everyone can stop at a line that is red or yellow."""
        if not self.layout.junctions:
            return np.full(len(vehicles), np.inf)
        routes = self.routes
        signal = routes.signal(self.time)
        ahead = routes.stop_s[vehicles.path] - (vehicles.s + vehicles.length / 2)[:, None]
        closed = signal[routes.stop_junction[vehicles.path], routes.stop_axis[vehicles.path]] < 2
        room = np.where(closed & (ahead > -1), np.maximum(ahead - 1, 0.0), np.inf).min(1)
        return np.sqrt(2 * 1.8 * room)

    def _apart(self, vehicles: Vehicles, margin: float) -> np.ndarray:
        """Return a mask that drops vehicles too near to an earlier one."""
        pose = vehicles.poses(self.routes, self.time)
        circles = discs(pose, vehicles.length, vehicles.width)
        keep = np.ones(len(vehicles), bool)
        for i in range(1, len(vehicles)):
            before = np.flatnonzero(keep[:i])
            gap = np.linalg.norm(circles[i][:, None, None] - circles[before][None], axis=-1)
            least = gap.min(axis=(0, 2)) - .55 * (vehicles.width[i] + vehicles.width[before])
            same = vehicles.base[before] == vehicles.base[i]
            lateral = np.abs(vehicles.side[before] - vehicles.side[i]) < 1.6
            slower = np.maximum(np.abs(vehicles.v[i] - vehicles.v[before]), 0) ** 2 / 5
            room = np.where(same & lateral, margin + .45 * vehicles.v[i] + slower, .25)
            keep[i] = not bool((least < room).any())
        return keep

    def _remove_overlaps(self) -> None:
        self.vehicles.select(self._apart(self.vehicles, 0.3))

    # Time

    def _advance(self) -> None:
        rng, vehicles, walkers = self._rng, self.vehicles, self.walkers
        self.driving.decide(vehicles, self.time, rng, self._lanes)
        poses = vehicles.poses(self.routes, self.time)
        if len(walkers):
            self.walking.advance(walkers, self.time, STEP, poses, vehicles.v, rng)
        self.driving.advance(vehicles, self.time, self.walking.obstacles(walkers))
        pitch, lift, pitch_rate, lift_rate = self.bounce
        kick = rng.normal(size=2) * min(1.0, .2 + vehicles.v[0] / 20)
        target = -.0045 * vehicles.a[0]
        pitch_rate += STEP * (-30 * (pitch + target) - 6 * pitch_rate) + .006 * kick[0]
        lift_rate += STEP * (-40 * lift - 7 * lift_rate) + .02 * kick[1]
        self.bounce = np.array([pitch + STEP * pitch_rate, lift + STEP * lift_rate, pitch_rate,
                                lift_rate])
        self.time += STEP

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
                     copy.deepcopy(self._rng.bit_generator.state), self.bounce.copy())

    def restore(self, state: State) -> None:
        """Go back (or on) to a snapshot of this world."""
        self.time = state.time
        self.vehicles, self.walkers = state.vehicles.copy(), state.walkers.copy()
        self._rng.bit_generator.state = copy.deepcopy(state.generator)
        self.bounce = state.bounce.copy()

    def branch(self, branch_seed: int, intents: dict[tuple[int, str], str] | None = None) -> None:
        """Draw all hidden intents again from now on; the past and the present stay the same.

        `intents` fixes some of them: {(agent, kind): option} as listed by `choices`.
        """
        self._rng = np.random.default_rng([self.seed, 2027, branch_seed])
        rng, vehicles = self._rng, self.vehicles
        for i in range(len(vehicles)):
            if vehicles.slow_until[i] > self.time and rng.uniform() < .5:
                vehicles.slow_until[i] = self.time + rng.uniform(0, 1.5)
            draw_event(vehicles, i, self.time, rng, self._lanes)
            junction, distance = self.driving.next_junction(vehicles, i)
            if junction >= 0 and distance < 55:
                options = self.driving.route_options(vehicles, i, junction)
                if options:
                    self.driving.set_route(vehicles, i, junction, draw_route(rng, options))
        for i in range(len(self.walkers)):
            if self.walkers.mode[i] != CROSS:
                draw_choice(self.walkers, i, self.time, rng)
        for (agent, kind), option in (intents or {}).items():
            self._fix(agent, kind, option)

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
        """Return the hidden intents that are open now, nearest agents first."""
        poses = self.vehicles.poses(self.routes, self.time)
        found: list[tuple[float, Choice]] = []
        for i in range(len(self.vehicles)):
            distance = float(np.hypot(*(poses[i, :2] - poses[0, :2])))
            if distance > reach:
                continue
            found.append((distance, Choice(i, 'event', ('keep', 'brake', 'stop'), (.5, .3, .2))))
            junction, gap = self.driving.next_junction(self.vehicles, i)
            options = self.driving.route_options(self.vehicles, i, junction) if gap < 55 else []
            if options:
                turn = .5 if len(options) == 1 else .31
                odds = (1 - turn * len(options), *[turn] * len(options))
                found.append((distance, Choice(i, 'route', ('straight', *options), odds)))
        for i in range(len(self.walkers)):
            here = self.layout.main.at(self.walkers.s[i], self.walkers.t[i])
            distance = float(np.hypot(*(here[:2] - poses[0, :2])))
            if distance < reach and self.walkers.mode[i] != CROSS:
                found.append((distance, Choice(i, 'walk', CHOICES, (.25, .2, .55))))
        return [choice for _, choice in sorted(found, key=lambda item: item[0])]

    def branches(self, most: int = 3) -> list[tuple[dict[tuple[int, str], str], float]]:
        """Return every combination of the nearest `most` open intents, likeliest first."""
        open_choices = self.choices()[:most]
        result = []
        for picks in itertools.product(*(range(len(c.options)) for c in open_choices)):
            pairs = list(zip(open_choices, picks, strict=True))
            intents = {(c.agent, c.kind): c.options[k] for c, k in pairs}
            result.append((intents, float(np.prod([c.odds[k] for c, k in pairs]))))
        return sorted(result, key=lambda item: -item[1])

    # What the renderer needs

    def ego_camera(self, ahead: float = 0.0) -> np.ndarray:
        """Return the camera pose (4, 4) in the world, optical frame (z forward, y down)."""
        x, y, z, heading = self.vehicles.poses(self.routes, self.time, ahead)[0]
        path, s = self.vehicles.path[:1], self.vehicles.s[:1]
        nose, tail = self.routes.pose(path, s + 3)[0], self.routes.pose(path, s - 3)[0]
        slope = (nose[2] - tail[2]) / 6
        pitch_rate, lift_rate = self.bounce[2:]
        pitch = self.camera.pitch + self.bounce[0] + pitch_rate * ahead - slope
        yaw, roll = heading + self.camera.yaw, self.camera.roll
        cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
        forward = np.array([cy * cp, sy * cp, -sp])
        right = np.array([sy, -cy, 0.0])
        down = np.cross(forward, right)
        right, down = (np.cos(roll) * right + np.sin(roll) * down,
                       np.cos(roll) * down - np.sin(roll) * right)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, down, forward], 1)
        reach = self.camera.forward
        lift = self.camera.height + self.bounce[1] + lift_rate * ahead
        pose[:3, 3] = (x + np.cos(heading) * reach, y + np.sin(heading) * reach,
                       z + slope * reach + lift)
        return pose

    def moving_instances(self, ahead: float = 0.0) -> dict[str, np.ndarray]:
        """Return instance tables of vehicles, pedestrians, shadows and signal lights."""
        vehicles = self.vehicles
        poses = vehicles.poses(self.routes, self.time, ahead)
        ends = self.routes.pose(np.stack([vehicles.path] * 2),
                                np.stack([vehicles.s + 2, vehicles.s - 2]))
        slope = (ends[0, :, 2] - ends[1, :, 2]) / 4
        person = vehicles.kind == len(KINDS) - 1
        param = np.stack([
            np.where(person, PEDESTRIAN, VEHICLE),
            np.where(person, (vehicles.s * 1.5) % (2 * np.pi), 0.0),
            (vehicles.a < -.7) | (vehicles.v < .3), slope], 1)
        cars = instances(poses, np.ones((len(vehicles), 3)), vehicles.color, param)
        tables = {KINDS[kind]: cars[1:][vehicles.kind[1:] == kind]
                  for kind in np.unique(vehicles.kind[1:])}
        shade_poses, shade_sizes = [poses[1:]], [SIZES[vehicles.kind[1:]]]
        walkers = self.walkers
        if len(walkers):
            table = self._walker_instances(ahead)
            tables['pedestrian'] = table
            shade_poses.append(table[:, :4])
            shade_sizes.append(np.tile((.45, .5, 1.7), (len(table), 1)))
        tables['shadow'] = shadow_instances(np.concatenate(shade_poses),
                                            np.concatenate(shade_sizes))
        if self.scenery.lamps:
            tables['box'] = self._signal_lights(ahead)
        return tables

    def _walker_instances(self, ahead: float) -> np.ndarray:
        walkers, section = self.walkers, self.layout.main.section
        ds, dt = walkers.velocity()
        s, t = walkers.s + ds * ahead, walkers.t + dt * ahead
        place = self.layout.main.at(s, t)
        # Kerbs are climbed over 0.3 m so that nobody jumps.
        above = np.maximum(t - section.left_edge, -section.right_edge - t)
        place[:, 2] += KERB * np.clip(above / .3 + .5, 0.0, 1.0)
        yaw = self.layout.main.heading_at(s) + walkers.yaw
        size = np.repeat(.88 + .35 * walkers.color[:, :1], 3, 1)
        count = len(walkers)
        param = np.stack([np.full(count, PEDESTRIAN),
                          walkers.stride + walkers.v * ahead * 4.3, np.zeros(count),
                          np.zeros(count)], 1)
        return instances(np.concatenate([place, yaw[:, None]], 1), size, walkers.color, param)

    def _signal_lights(self, ahead: float) -> np.ndarray:
        signal = self.routes.signal(self.time + ahead)
        colors = np.array(((.9, .05, .03), (.9, .55, .05), (.05, .8, .35)))
        lamps = self._lamps
        state = signal[lamps[:, 4].astype(int), lamps[:, 5].astype(int)]
        pose = lamps[:, :4].copy()
        pose[:, 0] -= .13 * np.cos(pose[:, 3])
        pose[:, 1] -= .13 * np.sin(pose[:, 3])
        pose[:, 2] += np.array((.70, .40, .10))[state]
        count = len(lamps)
        return instances(pose, np.tile((.06, .22, .22), (count, 1)), colors[state],
                         np.tile((POLE, 3.0, 0.0, 0.0), (count, 1)))


__all__ = ['TEST_SEEDS', 'TRAIN_SEEDS', 'VEHICLES', 'Camera', 'Choice', 'State', 'StreetWorld']
