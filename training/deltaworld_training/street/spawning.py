# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Placing the traffic of a new world so that nobody starts in trouble."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deltaworld_training.street.driving import Driving
from deltaworld_training.street.instances import vary_paint
from deltaworld_training.street.layout import Layout
from deltaworld_training.street.routes import Routes
from deltaworld_training.street.vehicles import CYCLIST, SIZES, Vehicles, discs

# Odds of the kinds of vehicles on open roads and in town, in the order of KINDS.
_OPEN_ODDS = (.38, .24, .12, .10, .06, .03, .07)
_TOWN_ODDS = (.38, .24, .16, .08, .07, .05, .02)
_CRUISE = {'highway': (19, 31), 'rural': (13, 22), 'suburb': (7, 13)}  # m/s
_CRUISE_TOWN = (6, 14)


@dataclass
class _Place:
    kind: int
    path: int
    s: float
    speed: float
    side: float = 0.0


def spawn_vehicles(layout: Layout, routes: Routes, driving: Driving, time: float,
                   rng: np.random.Generator) -> Vehicles:
    """Return the ego (index 0) and the traffic around it, moving but with unset events."""
    section, open_road = layout.main.section, layout.main.section.sidewalk == 0
    ego = routes.forward[int(rng.integers(section.lanes_forward))]
    start = rng.uniform(80, 300) if layout.kind == 'highway' else rng.uniform(50, 90)
    if layout.junctions and rng.uniform() < .6:
        start = layout.junctions[0].s - rng.uniform(35, 80)
    cruise = rng.uniform(*_CRUISE.get(layout.kind, _CRUISE_TOWN))
    odds = _OPEN_ODDS if open_road else _TOWN_ODDS
    places = [_Place(0, ego, start, cruise)]

    def fill(path: int, low: float, high: float, spacing: float) -> None:
        s = low + rng.uniform(0, spacing)
        while s < high:
            kind = int(rng.choice(len(odds), p=odds))
            places.append(_Place(kind, path, s, cruise * rng.uniform(.8, 1.1)))
            s += SIZES[kind, 0] + 8 + rng.exponential(spacing)

    spacing = (.9 * cruise + 4) / rng.uniform(.3, 1.0)
    for path in routes.forward:
        if path != ego:
            fill(path, start - 45, start + 150, spacing)
            continue
        if rng.uniform() < .75:
            fill(path, start + 13, start + 160, spacing)
        fill(path, start - 70, start - 35, 30)
    for path in routes.backward:
        beside = routes.end[path] - start
        fill(path, beside - 220, beside + 5, spacing * .8)
    for path in routes.crossing:
        stop, way = routes.stop_s[path, 0], routes.paths[path]
        if np.isfinite(stop) and abs(layout.junctions[way.junction].s - start) < 170:
            if rng.uniform() < .7 and way.turn == 'straight':
                fill(path, max(stop - 60, 3), stop - 3, 14)
            elif rng.uniform() < .5:
                places.append(_Place(int(rng.choice(4)), path, stop - rng.uniform(3, 12), 5.0))
    if layout.kind != 'highway' and rng.uniform() < .55:
        side = -(section.lane_width / 2 + section.shoulder * .5)
        right, left = routes.forward[-1], routes.backward[-1]
        for path, s in ((right, start + rng.uniform(12, 45)),
                        (left, routes.end[left] - start - rng.uniform(20, 80))):
            places.append(_Place(CYCLIST, path, s, rng.uniform(3.5, 6.5), side))
    vehicles = _vehicles([place for place in places if _fits(place, routes)], rng)
    _set_speeds(vehicles, routes, driving, time, rng)
    vehicles.select(apart(vehicles, routes, 2.5))
    for _ in range(4):  # nobody starts faster than the gap ahead allows
        gap, lead = driving.same_lane(vehicles)
        vehicles.v = np.minimum(vehicles.v, np.maximum(gap - 2, 0) / 1.4 + .3 * lead)
    return vehicles


def _fits(place: _Place, routes: Routes) -> bool:
    """Tell whether a place lies on its path and, in side streets, before the stop line."""
    front = place.s + SIZES[place.kind, 0] / 2
    waits = place.path in routes.crossing
    return bool(2 < place.s < routes.end[place.path] - 12
                and not (waits and front > routes.stop_s[place.path, 0] - .5))


def _vehicles(places: list[_Place], rng: np.random.Generator) -> Vehicles:
    count = len(places)
    path = np.array([place.path for place in places])
    v = np.array([place.speed for place in places], float)
    return Vehicles(
        kind=np.array([place.kind for place in places]), path=path, base=path.copy(),
        s=np.array([place.s for place in places], float), v=v.copy(), a=np.zeros(count),
        side=np.array([place.side for place in places], float), shift=np.zeros(count),
        shift_start=np.full(count, -100.0), shift_length=np.ones(count), desired=v.copy(),
        color=np.stack([vary_paint(rng) for _ in places]), route=np.zeros(count, int),
        decided=np.full(count, -1), event=np.zeros(count, int), event_time=np.zeros(count),
        slow_to=np.zeros(count), slow_until=np.full(count, -100.0), slow_rate=np.ones(count))


def _set_speeds(vehicles: Vehicles, routes: Routes, driving: Driving, time: float,
                rng: np.random.Generator) -> None:
    """Limit the speeds by curves and by lines that everyone must be able to stop at."""
    vehicles.v = np.minimum(vehicles.v, routes.speed_limit(vehicles.path, vehicles.s))
    if len(routes.middle):
        signal = routes.signal(time)
        ahead = routes.stop_s[vehicles.path] - (vehicles.s + vehicles.length / 2)[:, None]
        closed = signal[routes.stop_junction[vehicles.path],
                        routes.stop_axis[vehicles.path]] < 2
        room = np.where(closed & (ahead > -1), np.maximum(ahead - 1, 0.0), np.inf).min(1)
        vehicles.v = np.minimum(vehicles.v, np.sqrt(2 * 1.8 * room))
    vehicles.v *= rng.uniform(.65, 1.0, len(vehicles))


def apart(vehicles: Vehicles, routes: Routes, margin: float) -> np.ndarray:
    """Return a mask (N,) that drops vehicles too near to an earlier one; the ego stays."""
    circles = discs(vehicles.poses(routes), vehicles.length, vehicles.width)
    keep = np.ones(len(vehicles), bool)
    for i in range(1, len(vehicles)):
        before = np.flatnonzero(keep[:i])
        gap = np.linalg.norm(circles[i][:, None, None] - circles[before][None], axis=-1)
        least = gap.min(axis=(0, 2)) - .55 * (vehicles.width[i] + vehicles.width[before])
        same = vehicles.base[before] == vehicles.base[i]
        same &= np.abs(vehicles.side[before] - vehicles.side[i]) < 1.6
        closing = (vehicles.v[i] - vehicles.v[before]) ** 2 / 5
        room = np.where(same, margin + .45 * vehicles.v[i] + closing, .25)
        keep[i] = not bool((least < room).any())
    return keep
