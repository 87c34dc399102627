# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Vehicles with hidden intents: they follow lanes, turn, change lanes, brake and stop.

Agent 0 is the ego. Each vehicle holds two open choices: its `route` at the next junction and its
next event (`event`, `event_time`); both can be drawn again when a world branches.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from .meshes import VEHICLES
from .routes import Routes
from .scenery import vary_paint

STEP = 0.1  # s, fixed simulation step; poses between steps follow constant acceleration
KINDS = (*VEHICLES, 'cyclist')
SIZES = np.array([*VEHICLES.values(), (1.8, 0.6, 1.8)])
EVENTS = ('keep', 'ease', 'brake', 'stop', 'left', 'right')
KEEP, EASE, BRAKE, STOP, CHANGE_LEFT, CHANGE_RIGHT = range(6)
ROUTES = ('straight', 'left', 'right')
ACCELERATION, BRAKING, HARDEST, JERK = 1.8, 2.4, 6.5, 7.0
LANE_CHANGE = 3.6  # s


@dataclass
class Vehicles:
    """State of N vehicles as arrays; index 0 is the ego."""

    kind: np.ndarray
    path: np.ndarray
    base: np.ndarray  # lane path before a turn
    s: np.ndarray
    v: np.ndarray
    a: np.ndarray
    side: np.ndarray  # constant lateral offset (cyclists ride at the edge), m
    shift: np.ndarray  # lateral offset at the start of a lane change, m
    shift_time: np.ndarray
    desired: np.ndarray  # m/s
    color: np.ndarray
    route: np.ndarray  # index into ROUTES for junction `decided`
    decided: np.ndarray
    event: np.ndarray
    event_time: np.ndarray
    slow_to: np.ndarray  # m/s while slowing
    slow_until: np.ndarray
    slow_rate: np.ndarray  # m/s^2

    def __len__(self) -> int:
        return len(self.s)

    @property
    def length(self) -> np.ndarray:
        """Length (N,) in metres."""
        return SIZES[self.kind, 0]

    @property
    def width(self) -> np.ndarray:
        """Width (N,) in metres."""
        return SIZES[self.kind, 1]

    def copy(self) -> Vehicles:
        """Return an independent copy."""
        return Vehicles(*(getattr(self, f.name).copy() for f in fields(self)))

    def select(self, keep: np.ndarray) -> None:
        """Drop the vehicles whose mask entry is false."""
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name)[keep])

    def lateral(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the lateral offset (N,) m and its rate (N,) m/s at a time."""
        u = np.clip((time - self.shift_time) / LANE_CHANGE, 0.0, 1.0)
        left = 1.0 - u**3 * (10 - 15 * u + 6 * u**2)
        rate = -30.0 * u**2 * (1 - u) ** 2 / LANE_CHANGE
        return self.side + self.shift * left, self.shift * rate

    def poses(self, routes: Routes, time: float, ahead: float = 0.0) -> np.ndarray:
        """Return (N, 4) x, y, z, heading `ahead` seconds after the state's `time`."""
        moving = np.where(self.a < 0, np.minimum(ahead, -self.v / np.minimum(self.a, -1e-9)), ahead)
        s = self.s + self.v * moving + 0.5 * self.a * moving**2
        speed = self.v + self.a * moving
        offset, rate = self.lateral(time + ahead)
        pose = routes.pose(self.path, s, offset)
        pose[:, 3] += np.arctan2(rate, np.maximum(speed, 3.0))
        return pose


def discs(pose: np.ndarray, length: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Cover vehicles by circles along their axis: centres (N, 5, 2); the radius is width * 0.55."""
    reach = length / 2 - width * 0.45
    along = np.linspace(-1.0, 1.0, 5)[None] * reach[:, None]
    heading = pose[:, 3:4]
    return pose[:, None, :2] + np.stack([np.cos(heading) * along, np.sin(heading) * along], -1)


def draw_event(vehicles: Vehicles, i: int, time: float, rng: np.random.Generator, lanes: bool,
               soon: float = 0.0) -> None:
    """Draw the next hidden event of vehicle i and when it happens."""
    odds = np.array([.38, .26, .15, .07, .07, .07]) if lanes else np.array(
        [.42, .28, .19, .11, 0, 0])
    if lanes and vehicles.desired[i] > 17:
        odds = np.array([.36, .24, .17, .01, .11, .11])
    if KINDS[vehicles.kind[i]] == 'cyclist':
        odds = np.array([.5, .4, .05, .05, 0, 0])
    vehicles.event[i] = rng.choice(6, p=odds / odds.sum())
    vehicles.event_time[i] = time + rng.uniform(soon, 4.5)


def draw_route(rng: np.random.Generator, options: list[str]) -> int:
    """Draw a route among straight and the turns that the lane offers."""
    if not options:
        return 0
    turn = .5 if len(options) == 1 else .62
    odds = [1 - turn] + [turn / len(options)] * len(options)
    choice = int(rng.choice(len(odds), p=odds))
    return 0 if choice == 0 else ROUTES.index(options[choice - 1])


class Driving:
    """Advance vehicles by fixed steps: car following, signals, yielding and hidden intents."""

    def __init__(self, routes: Routes) -> None:
        self.routes = routes
        self.reach = np.arange(0.0, 41.0, 2.0)

    def next_junction(self, vehicles: Vehicles, i: int) -> tuple[int, float]:
        """Return the next junction with a stop line ahead on the base path, and its distance."""
        stops = self.routes.stop_s[vehicles.base[i]]
        ahead = np.flatnonzero(stops > vehicles.s[i] - 4.0)
        if not len(ahead):
            return -1, np.inf
        k = int(ahead[0])
        return int(self.routes.stop_junction[vehicles.base[i], k]), stops[k] - vehicles.s[i]

    def route_options(self, vehicles: Vehicles, i: int, junction: int) -> list[str]:
        """Return the turns that vehicle i can still make at a junction, given its speed."""
        if KINDS[vehicles.kind[i]] in ('cyclist', 'bus', 'truck'):
            return []
        turns = self.routes.turns.get((int(vehicles.base[i]), junction), {})
        s, v = vehicles.s[i], vehicles.v[i]
        beside = (vehicles.kind == len(KINDS) - 1) & (vehicles.base == vehicles.base[i])
        cyclist = bool((beside & (np.abs(vehicles.s - s) < 45)).any())
        feasible = []
        for name, path in turns.items():
            room = self.routes.entry[path] - s
            limit = self.routes.speed_limit(np.array([path]), np.array([s]))[0]
            # A left turn must be able to wait for oncoming traffic, a right turn cuts cyclists off.
            wait = v * v / 4.4 + 4.0 if name == 'left' else 0.0
            if room > wait and v * v <= limit * limit + 2 * room and not (
                    name == 'right' and cyclist):
                feasible.append(name)
        return feasible

    def set_route(self, vehicles: Vehicles, i: int, junction: int, route: int) -> None:
        """Put vehicle i on the path of a route at a junction."""
        vehicles.route[i], vehicles.decided[i] = route, junction
        turns = self.routes.turns.get((int(vehicles.base[i]), junction), {})
        vehicles.path[i] = turns.get(ROUTES[route], vehicles.base[i])

    def decide(self, vehicles: Vehicles, time: float, rng: np.random.Generator,
               lanes: bool) -> None:
        """Draw routes near junctions, start due events and finish turns."""
        routes = self.routes
        for i in range(len(vehicles)):
            if vehicles.path[i] != vehicles.base[i]:
                if vehicles.s[i] > routes.entry[vehicles.path[i]]:
                    vehicles.base[i] = vehicles.path[i]
            elif len(routes.middle):
                junction, distance = self.next_junction(vehicles, i)
                if junction >= 0 and distance < 55.0 and vehicles.decided[i] != junction:
                    options = self.route_options(vehicles, i, junction)
                    self.set_route(vehicles, i, junction, draw_route(rng, options))
            if time >= vehicles.event_time[i]:
                self._start_event(vehicles, i, time, rng)
                draw_event(vehicles, i, time, rng, lanes, 1.5)

    def _start_event(self, vehicles: Vehicles, i: int, time: float,
                     rng: np.random.Generator) -> None:
        event = vehicles.event[i]
        if event == EASE:
            vehicles.desired[i] *= rng.uniform(.8, 1.3)
        elif event in (BRAKE, STOP):
            share = rng.uniform(.25, .7) if event == BRAKE else 0.0
            vehicles.slow_to[i] = share * vehicles.v[i]
            vehicles.slow_rate[i] = rng.uniform(1.6, 3.0)
            needed = (1 - share) * vehicles.v[i] / vehicles.slow_rate[i]
            vehicles.slow_until[i] = time + needed + rng.uniform(.2, 2.0)
        elif event in (CHANGE_LEFT, CHANGE_RIGHT):
            self._change_lane(vehicles, i, time, -1 if event == CHANGE_LEFT else 1)

    def _change_lane(self, vehicles: Vehicles, i: int, time: float, step: int) -> None:
        routes = self.routes
        for group in (routes.forward, routes.backward):
            if vehicles.path[i] not in group or vehicles.path[i] != vehicles.base[i]:
                continue
            lane = group.index(int(vehicles.path[i])) + step
            settled = time - vehicles.shift_time[i] > LANE_CHANGE
            if not 0 <= lane < len(group) or vehicles.v[i] < 6 or not settled:
                return
            if self.next_junction(vehicles, i)[1] < 60:
                return
            target = group[lane]
            pose = routes.pose(vehicles.path[i:i + 1], vehicles.s[i:i + 1], vehicles.side[i])[0]
            low = max(int(vehicles.s[i]) - 40, 0)
            window = routes.samples[target, low:low + 80]
            k = int(((window[:, :2] - pose[:2]) ** 2).sum(1).argmin())
            near = window[k]
            away = pose[:2] - near[:2]
            s = low + k + np.cos(near[3]) * away[0] + np.sin(near[3]) * away[1]
            gap = np.where(vehicles.path == target, vehicles.s - s, np.inf)
            room = (vehicles.length + vehicles.length[i]) / 2
            closing = np.where(gap > 0, vehicles.v[i] - vehicles.v, vehicles.v - vehicles.v[i])
            if np.any(np.abs(gap) < room + 7.0 + 3.5 * np.maximum(closing, 0.0)):
                return
            vehicles.shift[i] = -np.sin(near[3]) * away[0] + np.cos(near[3]) * away[1]
            vehicles.shift_time[i] = time
            vehicles.s[i], vehicles.path[i], vehicles.base[i] = s, target, target
            return

    def advance(self, vehicles: Vehicles, time: float, walkers: np.ndarray) -> None:
        """Move all vehicles by one step; `walkers` (P, 2) are points that nobody may drive into."""
        routes = self.routes
        count = len(vehicles)
        length, width = vehicles.length, vehicles.width
        offset, _ = vehicles.lateral(time)
        pose = vehicles.poses(routes, time)
        circles = discs(pose, length, width)
        gap, lead = self.same_lane(vehicles)
        # Probe along the path ahead; a lane change counts as done 30 m further on.
        fade = np.clip(1.0 - self.reach / 30.0, 0.0, 1.0)[None]
        side = vehicles.side[:, None] + (offset - vehicles.side)[:, None] * fade
        points = routes.pose(np.repeat(vehicles.path[:, None], len(self.reach), 1),
                             vehicles.s[:, None] + self.reach, side)
        people = np.repeat(walkers[:, None], 5, 1)
        bodies = np.concatenate([circles, people])
        wide = np.concatenate([width * .55, np.full(len(walkers), .55)])
        away = bodies[None, :, 2] - pose[:, None, :2]
        near = (away**2).sum(2) < (48.0 + np.append(length, np.zeros(len(walkers))) / 2) ** 2
        near[np.arange(count), np.arange(count)] = False
        me, other = np.nonzero(near)
        allow = (width[me] / 2 + wide[other] + .22) ** 2
        line = points[me][:, :, None]
        body = bodies[other][:, None]
        x, y = line[..., 0] - body[..., 0], line[..., 1] - body[..., 1]
        hit = (x * x + y * y < allow[:, None, None]).any(2)
        first = hit.argmax(1)
        for pair in np.flatnonzero(hit.any(1) & (first > 0)):  # 0: overlaps already
            i, j, k = me[pair], other[pair], first[pair]
            along = self.reach[k] - length[i] / 2 - .8
            if along < gap[i]:
                speed = 0.0
                if j < count:
                    speed = max(vehicles.v[j] * np.cos(pose[j, 3] - points[i, k, 3]), 0.0)
                gap[i], lead[i] = along, speed
        stop_gap = self._stop_lines(vehicles, time, length)
        self._integrate(vehicles, time, gap, lead, stop_gap)

    def same_lane(self, vehicles: Vehicles) -> tuple[np.ndarray, np.ndarray]:
        """Return the gap (N,) and the leader's speed (N,) along each lane."""
        length = vehicles.length
        ahead = vehicles.s[None] - vehicles.s[:, None]
        same = vehicles.base[None] == vehicles.base[:, None]
        narrow = np.abs(vehicles.side[None] - vehicles.side[:, None]) < 1.6
        gap = np.where(same & narrow & (ahead > 0), ahead, np.inf)
        who = gap.argmin(1)
        nearest = gap[np.arange(len(vehicles)), who] - (length + length[who]) / 2
        return nearest, vehicles.v[who].copy()

    def _stop_lines(self, vehicles: Vehicles, time: float, length: np.ndarray) -> np.ndarray:
        """Return the distance (N,) to a stop line that binds now, or infinity."""
        routes = self.routes
        result = np.full(len(vehicles), np.inf)
        if not len(routes.middle):
            return result
        signal = routes.signal(time)
        front = vehicles.s + length / 2
        stops = routes.stop_s[vehicles.path]
        ahead = stops - front[:, None]
        ahead = np.where(ahead > -.6, ahead, np.inf)
        k = ahead.argmin(1)
        rows = np.arange(len(vehicles))
        distance = ahead[rows, k]
        state = signal[routes.stop_junction[vehicles.path, k], routes.stop_axis[vehicles.path, k]]
        needed = vehicles.v**2 / (2 * 2.8)
        binding = np.isfinite(distance) & ((state == 0) | ((state == 1) & (distance > needed)))
        binding &= (distance > needed * .55)  # too late to stop: go on
        result[binding] = distance[binding]
        turning = np.flatnonzero(vehicles.path != vehicles.base)
        entering = np.flatnonzero((state == 2) & (distance < 15) & np.isin(
            vehicles.base, routes.crossing))
        if not len(turning) and not len(entering):
            return result
        pose = routes.pose(vehicles.path, vehicles.s)
        for i in turning:
            path = vehicles.path[i]
            if routes.paths[path].turn == 'left':
                wait = routes.entry[path] - 1.0 - front[i]
                group = routes.backward if vehicles.base[i] in routes.forward else routes.forward
                if wait > -1.5 and self._arrivals(vehicles, pose, routes.paths[path].junction,
                                                  group, 12.0, 5.5):
                    result[i] = min(result[i], max(wait, 0.0))
        for i in entering:  # green, but let those on the main road pass who cannot stop any more
            junction = routes.stop_junction[vehicles.path[i], k[i]]
            if self._arrivals(vehicles, pose, junction, routes.forward + routes.backward, 14.0,
                              1.5):
                result[i] = max(distance[i], 0.0)
        return result

    def _arrivals(self, vehicles: Vehicles, pose: np.ndarray, junction: int, group: list[int],
                  reach: float, seconds: float) -> bool:
        """Tell whether vehicles of a lane group are in a junction or arrive within seconds."""
        routes = self.routes
        away = routes.middle[junction] - pose[:, :2]
        ahead = away[:, 0] * np.cos(pose[:, 3]) + away[:, 1] * np.sin(pose[:, 3])
        turning = np.array([routes.paths[p].turn == 'left' for p in vehicles.path])
        danger = np.isin(vehicles.base, group) & ~turning & (ahead > -8 - vehicles.length / 2)
        danger &= (ahead - reach) / np.maximum(vehicles.v, 2.0) < seconds
        if seconds < 3:
            danger &= vehicles.v > 1.0
        return bool(danger.any())

    def _integrate(self, vehicles: Vehicles, time: float, gap: np.ndarray, lead: np.ndarray,
                   stop_gap: np.ndarray) -> None:
        v = vehicles.v
        limit = self.routes.speed_limit(vehicles.path, vehicles.s + v * .3)
        target = np.maximum(np.minimum(vehicles.desired, limit), .1)
        free = ACCELERATION * (1 - (v / target) ** 4)
        free = np.where(v > target, np.maximum(free, -(v - target) * 1.6 - .2), free)
        headway = np.where(vehicles.kind == len(KINDS) - 1, .8, 1.15)
        scale = 2 * np.sqrt(ACCELERATION * BRAKING)
        want = 2.0 + np.maximum(v * headway + v * (v - lead) / scale, 0.0)
        follow = free - ACCELERATION * (want / np.maximum(gap, .3)) ** 2
        want = .6 + np.maximum(v * .6 + v * v / scale, 0.0)
        halt = free - ACCELERATION * (want / np.maximum(stop_gap, .15)) ** 2
        command = np.minimum(free, np.minimum(follow, halt))
        slowing = (time < vehicles.slow_until)
        ease = np.where(v > vehicles.slow_to + .2, -vehicles.slow_rate,
                        np.minimum(command, 0.0))
        command = np.where(slowing, np.minimum(command, ease), command)
        command = np.clip(command, -HARDEST, ACCELERATION)
        soft = np.clip(command, -3.0, ACCELERATION)
        needed = np.maximum(np.maximum(v - lead, 0) ** 2 / (2 * np.maximum(gap - 1.0, .2)),
                            v**2 / (2 * np.maximum(stop_gap, .2)))
        emergency = needed > 2.8
        command = np.where(emergency, command, soft)
        change = JERK * STEP * np.where(emergency, 3.0, 1.0)
        vehicles.a = np.clip(command, vehicles.a - change, vehicles.a + change)
        vehicles.a = np.where((v < .05) & (vehicles.a < .05), 0.0, vehicles.a)
        moving = np.where(vehicles.a < 0, np.minimum(STEP, -v / np.minimum(vehicles.a, -1e-9)),
                          STEP)
        vehicles.s = vehicles.s + v * moving + .5 * vehicles.a * moving**2
        vehicles.v = np.maximum(v + vehicles.a * moving, 0.0)
        vehicles.v[vehicles.v < .02] = 0.0


def spawn(kinds: list[int], paths: list[int], places: list[float], speeds: list[float],
          sides: list[float], rng: np.random.Generator) -> Vehicles:
    """Return vehicles at the given places with unset intents."""
    count = len(kinds)
    path = np.array(paths)
    v = np.array(speeds)
    return Vehicles(
        kind=np.array(kinds), path=path, base=path.copy(), s=np.array(places, float), v=v.copy(),
        a=np.zeros(count), side=np.array(sides, float), shift=np.zeros(count),
        shift_time=np.full(count, -100.0), desired=v.copy(),
        color=np.stack([vary_paint(rng) for _ in kinds]), route=np.zeros(count, int),
        decided=np.full(count, -1), event=np.zeros(count, int), event_time=np.zeros(count),
        slow_to=np.zeros(count), slow_until=np.full(count, -100.0), slow_rate=np.ones(count))
