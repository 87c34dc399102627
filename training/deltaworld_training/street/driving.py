# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How vehicles move: car following, signals, yielding, lane changes and turns."""

from __future__ import annotations

import numpy as np

from deltaworld_training.street.routes import Routes
from deltaworld_training.street.vehicles import (
    BRAKE,
    CHANGE_LEFT,
    CHANGE_RIGHT,
    CYCLIST,
    EASE,
    KINDS,
    LANE_CHANGE,
    ROUTES,
    STEP,
    STOP,
    Vehicles,
    discs,
    draw_event,
    draw_route,
)

ACCELERATION, BRAKING = 1.8, 2.4  # m/s^2, comfortable
SOFTEST_LIMIT, HARDEST = 3.0, 6.5  # m/s^2, largest braking in normal driving and in need
JERK = 7.0  # m/s^3


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
        beside = (vehicles.kind == CYCLIST) & (vehicles.base == vehicles.base[i])
        cyclist = bool((beside & (np.abs(vehicles.s - s) < 45)).any())
        feasible = []
        for name, path in turns.items():
            room = self.routes.entry[path] - s
            limit = self.routes.speed_limit(np.array([path]), np.array([s]))[0]
            # A left turn must be able to wait for oncoming traffic; a right turn would cut
            # cyclists off.
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
            settled = vehicles.s[i] > vehicles.shift_start[i] + vehicles.shift_length[i]
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
            vehicles.shift_start[i] = s
            vehicles.shift_length[i] = LANE_CHANGE * vehicles.v[i]
            vehicles.s[i], vehicles.path[i], vehicles.base[i] = s, target, target
            return

    def advance(self, vehicles: Vehicles, time: float, walkers: np.ndarray) -> None:
        """Move all vehicles by one step; `walkers` (P, 2) are points not to be driven over."""
        gap, lead = self.same_lane(vehicles)
        self._look_ahead(vehicles, time, walkers, gap, lead)
        self._integrate(vehicles, time, gap, lead, self.stop_lines(vehicles, time))

    def _look_ahead(self, vehicles: Vehicles, time: float, walkers: np.ndarray, gap: np.ndarray,
                    lead: np.ndarray) -> None:
        """Shorten `gap` and set `lead` where anything else stands or moves on the path ahead."""
        count, length, width = len(vehicles), vehicles.length, vehicles.width
        pose = vehicles.poses(self.routes)
        offset, _ = vehicles.lateral(vehicles.s)
        # A lane change counts as done 30 m further on.
        fade = np.clip(1.0 - self.reach / 30.0, 0.0, 1.0)[None]
        side = vehicles.side[:, None] + (offset - vehicles.side)[:, None] * fade
        paths = np.repeat(vehicles.path[:, None], len(self.reach), 1)
        points = self.routes.pose(paths, vehicles.s[:, None] + self.reach, side)
        people = np.repeat(walkers[:, None], 5, 1)
        bodies = np.concatenate([discs(pose, length, width), people])
        radius = np.concatenate([width * .55, np.full(len(walkers), .55)])
        distance = np.hypot(*np.moveaxis(bodies[None, :, 2] - pose[:, None, :2], 2, 0))
        near = distance < 48.0 + np.append(length, np.zeros(len(walkers))) / 2
        near[np.arange(count), np.arange(count)] = False
        me, other = np.nonzero(near)
        allow = (width[me] / 2 + radius[other] + .22) ** 2
        line, body = points[me][:, :, None], bodies[other][:, None]
        x, y = line[..., 0] - body[..., 0], line[..., 1] - body[..., 1]
        hit = (x * x + y * y < allow[:, None, None]).any(2)
        first = hit.argmax(1)
        # What overlaps already, or a pedestrian beside the vehicle, is not ahead.
        ahead = np.where(other < count, first > 0, self.reach[first] > length[me] / 2)
        for pair in np.flatnonzero(hit.any(1) & ahead):
            i, j, k = me[pair], other[pair], first[pair]
            along = self.reach[k] - length[i] / 2 - .8
            if along < gap[i]:
                gap[i], lead[i] = along, 0.0
                if j < count:
                    lead[i] = max(vehicles.v[j] * np.cos(pose[j, 3] - points[i, k, 3]), 0.0)

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

    def stop_lines(self, vehicles: Vehicles, time: float) -> np.ndarray:
        """Return the distance (N,) to a stop line that binds now, or infinity."""
        routes, length = self.routes, vehicles.length
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
        binding &= (distance > needed * .55) | (vehicles.v < 2.0)  # else: too late to stop
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
                                                  group, 12.0, 5.5, 13.0):
                    result[i] = min(result[i], max(wait, 0.0))
        for i in entering:  # green, but let those on the main road pass who cannot stop any more
            junction = routes.stop_junction[vehicles.path[i], k[i]]
            if self._arrivals(vehicles, pose, junction, routes.forward + routes.backward, 14.0,
                              1.5, -np.inf):
                result[i] = max(distance[i], 0.0)
        return result

    def _arrivals(self, vehicles: Vehicles, pose: np.ndarray, junction: int, group: list[int],
                  reach: float, seconds: float, standing: float) -> bool:
        """Tell whether vehicles of a lane group are in a junction or arrive within seconds.

        They arrive `reach` m before its middle; those that stand count only nearer than
        `standing`.
        """
        routes = self.routes
        away = routes.middle[junction] - pose[:, :2]
        ahead = away[:, 0] * np.cos(pose[:, 3]) + away[:, 1] * np.sin(pose[:, 3])
        turning = np.array([routes.paths[p].turn == 'left' for p in vehicles.path])
        danger = np.isin(vehicles.base, group) & ~turning & (ahead > -8 - vehicles.length / 2)
        danger &= (ahead - reach) / np.maximum(vehicles.v, 2.0) < seconds
        danger &= (vehicles.v > .5) | (ahead < standing)
        return bool(danger.any())

    def _integrate(self, vehicles: Vehicles, time: float, gap: np.ndarray, lead: np.ndarray,
                   stop_gap: np.ndarray) -> None:
        v = vehicles.v
        limit = self.routes.speed_limit(vehicles.path, vehicles.s + v * .3)
        target = np.maximum(np.minimum(vehicles.desired, limit), .1)
        free = ACCELERATION * (1 - (v / target) ** 4)
        free = np.where(v > target, np.maximum(free, -(v - target) * 1.6 - .2), free)
        headway = np.where(vehicles.kind == CYCLIST, .8, 1.15)
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
        soft = np.clip(command, -SOFTEST_LIMIT, ACCELERATION)
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
