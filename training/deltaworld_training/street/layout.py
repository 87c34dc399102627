# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Roads: their shape, cross-section and junctions, and the lane paths that agents follow."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

CORNER_RADIUS = 5.0  # kerb radius at junctions, m
CROSS_HALF_LENGTH = 150.0  # half length of a side street, m
STOP_OFFSET = CORNER_RADIUS + 5.2  # from the far edge of the crossing road to the stop line, m


@dataclass(frozen=True)
class Section:
    """Cross-section of a road; lateral positions are positive to the left, in metres."""

    lanes_forward: int
    lanes_backward: int
    lane_width: float
    median: float = 0.0  # half width of the gap between both directions
    shoulder: float = 0.3  # paved width outside the outermost lane line
    parking: float = 0.0
    sidewalk: float = 0.0  # 0: no kerb, grass starts at the asphalt
    center_line: int = 0  # 0: double yellow, 1: dashed yellow, 2: none
    edge_lines: bool = True
    dash: tuple[float, float] = (3.0, 9.0)

    @property
    def right_edge(self) -> float:
        """Distance of the right asphalt edge from the reference line."""
        return (self.median + self.lanes_forward * self.lane_width + self.shoulder
                + self.parking)

    @property
    def left_edge(self) -> float:
        """Distance of the left asphalt edge from the reference line."""
        return (self.median + self.lanes_backward * self.lane_width + self.shoulder
                + self.parking)

    def lane_offset(self, lane: int, backward: bool = False) -> float:
        """Return the lateral position of a lane's middle; lane 0 is the innermost."""
        offset = self.median + (lane + 0.5) * self.lane_width
        return offset if backward else -offset


@dataclass(frozen=True)
class Road:
    """A reference line sampled each metre: position (P, 3) m and heading (P,) rad."""

    points: np.ndarray
    heading: np.ndarray
    section: Section

    @property
    def length(self) -> float:
        """Length of the reference line in metres."""
        return float(len(self.heading) - 1)

    def at(self, s: np.ndarray | float, t: np.ndarray | float) -> np.ndarray:
        """Return positions (..., 3) at arc length s and lateral position t."""
        if np.ndim(s) == 0 and np.ndim(t) == 0:
            return self._at_one(float(s), float(t))
        s, t = np.broadcast_arrays(np.asarray(s, float), np.asarray(t, float))
        low = np.clip(s.astype(int), 0, len(self.heading) - 2)
        part = (s - low)[..., None]
        point = self.points[low] * (1 - part) + self.points[low + 1] * part
        heading = self.heading_at(s)
        point[..., 0] -= np.sin(heading) * t
        point[..., 1] += np.cos(heading) * t
        return point

    def _at_one(self, s: float, t: float) -> np.ndarray:
        """Return `at` for one place; scenery asks for thousands of them."""
        low = min(max(int(s), 0), len(self.heading) - 2)
        part = s - low
        heading = float(self.heading[low]) * (1 - part) + float(self.heading[low + 1]) * part
        point = self.points[low] * (1 - part) + self.points[low + 1] * part
        point[0] -= math.sin(heading) * t
        point[1] += math.cos(heading) * t
        return point

    def heading_at(self, s: np.ndarray | float) -> np.ndarray:
        """Return the heading (...) at arc length s."""
        s = np.asarray(s, float)
        low = np.clip(s.astype(int), 0, len(self.heading) - 2)
        part = s - low
        return self.heading[low] * (1 - part) + self.heading[low + 1] * part


@dataclass(frozen=True)
class Junction:
    """A side street that crosses the main road at arc length `s`."""

    s: float
    street: Road
    signalled: bool


@dataclass(frozen=True)
class LanePath:
    """A drivable line: samples (P, 4) each metre of x, y, z, heading; and its stop lines."""

    samples: np.ndarray
    stops: tuple[tuple[float, int, int], ...]  # (arc length, junction, axis 0 main 1 side)
    turn: str = 'straight'
    junction: int = -1
    entry: float = np.inf  # arc length where a turn leaves the lane it starts in


@dataclass(frozen=True)
class Layout:
    """The roads of one world."""

    kind: str
    main: Road
    junctions: tuple[Junction, ...]
    forward: tuple[LanePath, ...]
    backward: tuple[LanePath, ...]
    turns: tuple[LanePath, ...]
    crossing: tuple[LanePath, ...] = field(default=())


def _line(start: np.ndarray, heading: np.ndarray, height: np.ndarray) -> np.ndarray:
    step = np.stack([np.cos(heading), np.sin(heading)], -1)
    middle = 0.5 * (step[1:] + step[:-1])
    plane = start + np.concatenate([np.zeros((1, 2)), np.cumsum(middle, 0)])
    return np.concatenate([plane, height[:, None]], 1)


def _resample(points: np.ndarray) -> np.ndarray:
    """Return (P, 4) samples at 1 m of a polyline (N, 3), with the heading."""
    gap = np.hypot(*np.diff(points[:, :2], axis=0).T)
    arc = np.concatenate([[0.0], np.cumsum(gap)])
    grid = np.arange(0.0, arc[-1], 1.0)
    xyz = np.stack([np.interp(grid, arc, points[:, axis]) for axis in range(3)], 1)
    delta = np.gradient(xyz[:, :2], axis=0)
    heading = np.unwrap(np.arctan2(delta[:, 1], delta[:, 0]))
    return np.concatenate([xyz, heading[:, None]], 1)


def _lane(road: Road, offset: float, backward: bool) -> np.ndarray:
    points = road.at(np.arange(0.0, road.length), offset)
    return _resample(points[::-1] if backward else points)


def _stops(samples: np.ndarray, junctions: list[tuple[np.ndarray, float, int, int]],
           ) -> tuple[tuple[float, int, int], ...]:
    """Return the stop lines on a path: (junction middle, half width crossed, index, axis)."""
    found = []
    for middle, half, index, axis in junctions:
        distance = np.hypot(*(samples[:, :2] - middle).T)
        nearest = int(distance.argmin())
        if distance[nearest] < 18.0:
            found.append((nearest - half - STOP_OFFSET, index, axis))
    return tuple(sorted(stop for stop in found if stop[0] > 5.0))


def _turn(start: np.ndarray, end: np.ndarray, middle: np.ndarray, half_in: float,
          half_out: float) -> tuple[np.ndarray, float]:
    """Join two lanes by a curve; return samples and the arc length where it begins."""
    before = np.hypot(*(start[:, :2] - middle).T)
    after = np.hypot(*(end[:, :2] - middle).T)
    entry = int(before.argmin() - half_out - CORNER_RADIUS - 1)
    leave = int(after.argmin() + half_in + CORNER_RADIUS + 1)
    entry, leave = max(entry, 1), min(leave, len(end) - 2)
    first, last = start[entry], end[leave]
    reach = 0.60 * np.hypot(*(last[:2] - first[:2])) / np.sqrt(2.0)
    direction = [np.array([np.cos(h), np.sin(h)]) for h in (first[3], last[3])]
    control = (first[:2] + reach * direction[0], last[:2] - reach * direction[1])
    u = np.linspace(0.0, 1.0, 48)[:, None]
    curve = ((1 - u) ** 3 * first[:2] + 3 * u * (1 - u) ** 2 * control[0]
             + 3 * u**2 * (1 - u) * control[1] + u**3 * last[:2])
    height = np.linspace(first[2], last[2], 48)[:, None]
    tail = np.concatenate([np.concatenate([curve, height], 1), end[leave + 1:, :3]])
    samples = np.concatenate([start[:entry], _resample(tail)])
    samples[:, 3] = np.unwrap(samples[:, 3])
    return samples, float(entry)


_KINDS = ('highway', 'avenue', 'city', 'suburb', 'rural')
_KIND_ODDS = (0.34, 0.16, 0.22, 0.16, 0.12)


def _sample_section(kind: str, rng: np.random.Generator) -> Section:
    if kind == 'highway':
        lanes = int(rng.integers(2, 5))
        return Section(lanes, max(2, lanes - int(rng.integers(0, 2))), rng.uniform(3.5, 3.8),
                       median=rng.uniform(0.9, 7.0), shoulder=rng.uniform(1.4, 3.2))
    if kind == 'avenue':
        return Section(2, 2, rng.uniform(3.2, 3.5), median=float(rng.choice([0.0, 0.0, 1.2])),
                       shoulder=rng.uniform(0.3, 0.6), sidewalk=rng.uniform(2.4, 4.5),
                       parking=float(rng.choice([0.0, 2.3])), dash=(3.0, 7.0),
                       edge_lines=bool(rng.uniform() < 0.3))
    if kind == 'city':
        return Section(1, 1, rng.uniform(3.2, 3.6), shoulder=rng.uniform(0.3, 0.8),
                       parking=float(rng.choice([2.2, 2.2, 0.0])), dash=(2.0, 6.0),
                       sidewalk=rng.uniform(2.3, 4.5), center_line=int(rng.integers(0, 3)),
                       edge_lines=bool(rng.uniform() < 0.3))
    if kind == 'suburb':
        return Section(1, 1, rng.uniform(3.2, 3.6), shoulder=rng.uniform(0.4, 1.8),
                       sidewalk=rng.uniform(2.2, 3.0), center_line=int(rng.integers(0, 3)),
                       edge_lines=bool(rng.uniform() < 0.5))
    return Section(1, 1, rng.uniform(3.2, 3.7), shoulder=rng.uniform(0.4, 1.6),
                   center_line=int(rng.integers(0, 2)))


def sample_layout(rng: np.random.Generator) -> Layout:
    """Draw the roads of a world."""
    kind = _KINDS[rng.choice(len(_KINDS), p=_KIND_ODDS)]
    section = _sample_section(kind, rng)
    urban = kind in ('city', 'avenue', 'suburb')
    length = 1300 if kind == 'highway' else 900 if kind == 'rural' else 640
    s = np.arange(length + 1.0)
    bend = {'highway': 0.16, 'rural': 0.34, 'suburb': 0.2}.get(kind, 0.05) * rng.uniform(0, 1.5)
    heading = np.zeros_like(s)
    for wave in rng.uniform(220, 600, 2) * (1.6 if kind == 'highway' else 1.0):
        heading += bend * np.sin(2 * np.pi * s / wave + rng.uniform(0, 2 * np.pi))
    tightest = {'highway': 420.0, 'rural': 140.0, 'suburb': 110.0}.get(kind, 350.0)
    heading *= min(1.0, 1.0 / (tightest * np.abs(np.gradient(heading)).max() + 1e-9))
    height = np.zeros_like(s)
    if not urban and rng.uniform() < 0.7:
        for wave in rng.uniform(260, 520, 2):
            height += rng.uniform(0, 1.8) * np.sin(2 * np.pi * s / wave + rng.uniform(0, 6.3))
    main = Road(_line(np.zeros(2), heading - heading[0], height), heading - heading[0], section)
    junctions: list[Junction] = []
    position, shoulder = rng.uniform(110, 190), rng.uniform(0.3, 0.8)
    while urban and position < length - 130:
        place = 2.0 * round(position / 2)
        side = Section(1, 1, section.lane_width if section.lane_width < 3.5 else 3.4,
                       sidewalk=section.sidewalk, center_line=int(rng.integers(0, 3)),
                       shoulder=shoulder, edge_lines=False, dash=section.dash)
        turned = main.heading_at(place) + np.pi / 2
        count = int(2 * CROSS_HALF_LENGTH) + 1
        direction = np.array([np.cos(turned), np.sin(turned)])
        start = main.at(place, 0.0)[:2] - CROSS_HALF_LENGTH * direction
        angle = np.full(count, float(turned))
        street = Road(_line(start, angle, np.zeros(count)), angle, side)
        junctions.append(Junction(place, street, bool(rng.uniform() < 0.75)))
        position += rng.uniform(75, 140)
    return _with_paths(kind, main, tuple(junctions))


def _with_paths(kind: str, main: Road, junctions: tuple[Junction, ...]) -> Layout:
    """Build every lane path of the roads."""
    section = main.section
    middles = [main.at(junction.s, 0.0)[:2] for junction in junctions]
    main_stops = [(middles[i], junction.street.section.right_edge, i, 0)
                  for i, junction in enumerate(junctions)]

    def lanes(backward: bool) -> list[LanePath]:
        count = section.lanes_backward if backward else section.lanes_forward
        lines = [_lane(main, section.lane_offset(k, backward), backward) for k in range(count)]
        return [LanePath(line, _stops(line, main_stops)) for line in lines]

    forward, backward = lanes(False), lanes(True)
    turns: list[LanePath] = []
    crossing: list[LanePath] = []
    for i, junction in enumerate(junctions):
        side = junction.street.section
        half_main = max(section.left_edge, section.right_edge)
        side_stop = [(middles[i], half_main, i, 1)]
        up = _lane(junction.street, side.lane_offset(0), False)
        down = _lane(junction.street, side.lane_offset(0, True), True)
        crossing += [LanePath(up, _stops(up, side_stop), 'straight', i),
                     LanePath(down, _stops(down, side_stop), 'straight', i)]
        for group, left, right in ((forward, up, down), (backward, down, up)):
            for path, end, name in ((group[0], left, 'left'), (group[-1], right, 'right')):
                line, entry = _turn(path.samples, end, middles[i], half_main, side.right_edge)
                stops = tuple(stop for stop in path.stops if stop[1] == i or stop[0] < entry)
                turns.append(LanePath(line, stops, name, i, entry))
        for lane, target in ((up, forward[-1]), (down, backward[-1])):
            line, entry = _turn(lane, target.samples, middles[i], side.right_edge, half_main)
            crossing.append(LanePath(line, _stops(lane, side_stop), 'right', i, entry))
    return Layout(kind, main, junctions, tuple(forward), tuple(backward), tuple(turns),
                  tuple(crossing))
