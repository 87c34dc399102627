# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Static things beside the road, as instance tables and surfaces.

An instance row (14 float32) is position, yaw, scale (3), colour (3) and four parameters, of which
the first is the class id; see the shaders for the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import surfaces
from .layout import CORNER_RADIUS, Junction, Layout, Road
from .meshes import VEHICLES
from .surfaces import Surface

VEGETATION, BUILDING, VEHICLE, PEDESTRIAN, POLE = 4, 5, 7, 8, 9

PAINTS = np.array([
    (.70, .70, .70), (.55, .56, .58), (.30, .31, .33), (.10, .10, .11), (.03, .03, .035),
    (.35, .03, .03), (.05, .09, .25), (.10, .18, .35), (.05, .12, .07), (.40, .33, .22),
    (.55, .10, .03), (.60, .45, .08)])
PAINT_ODDS = np.array([.24, .15, .13, .10, .14, .07, .06, .04, .02, .03, .01, .01])
WALLS = np.array([
    (.45, .40, .33), (.38, .22, .15), (.30, .14, .10), (.55, .52, .48), (.30, .30, .31),
    (.62, .58, .46), (.42, .34, .28), (.20, .22, .26), (.50, .30, .22), (.65, .64, .62)])


@dataclass(frozen=True)
class Lamp:
    """One signal head: where it hangs and whose stop line it serves."""

    position: tuple[float, float, float]
    yaw: float
    junction: int
    axis: int


@dataclass(frozen=True)
class Scenery:
    """Everything of a world that never moves."""

    surfaces: tuple[Surface, ...]
    instances: dict[str, np.ndarray]
    lamps: tuple[Lamp, ...]


def instance(position, yaw: float, scale, color, param) -> np.ndarray:
    """Return one instance row."""
    return np.concatenate([position, [yaw], scale, color, param]).astype('f4')


def instances(poses: np.ndarray, scales: np.ndarray, colors: np.ndarray,
              params: np.ndarray) -> np.ndarray:
    """Return instance rows (n, 14) from x, y, z, yaw (n, 4) and the other columns."""
    return np.concatenate([poses, scales, colors, params], 1).astype('f4')


def vary_paint(rng: np.random.Generator) -> np.ndarray:
    """Draw a car's colour."""
    color = PAINTS[rng.choice(len(PAINTS), p=PAINT_ODDS)]
    return color * rng.uniform(0.75, 1.2) * rng.uniform(0.95, 1.05, 3)


class _Builder:
    def __init__(self, layout: Layout, rng: np.random.Generator,
                 foliage: tuple[float, float, float]) -> None:
        self.layout, self.rng = layout, rng
        self.foliage = np.asarray(foliage)
        self.rows: dict[str, list[np.ndarray]] = {}
        self.surfaces: list[Surface] = []
        self.lamps: list[Lamp] = []

    def add(self, mesh: str, position, yaw: float, scale, color, param) -> None:
        self.rows.setdefault(mesh, []).append(instance(position, yaw, scale, color, param))

    def clear(self, s: float, margin: float) -> bool:
        """Tell whether arc length s of the main road is away from every junction."""
        return all(abs(s - j.s) > j.street.section.right_edge + margin
                   for j in self.layout.junctions)

    def tree(self, road: Road, s: float, t: float, height: float, shape: int | None = None,
             base: float = -0.15) -> None:
        rng = self.rng
        if shape is None:
            shape = int(rng.uniform() < 0.3)
        width = height * (rng.uniform(.34, .5) if shape == 0 else rng.uniform(.18, .26)
                          if shape == 1 else rng.uniform(.6, .9))
        position = road.at(s, t) + np.array([0, 0, base])
        color = self.foliage * np.exp(rng.normal(0, .22) + rng.normal(0, .10, 3))
        if shape == 1:
            color = color * np.array([.6, .75, .8])
        self.add('tree', position, 0.0, (width, width, height), color,
                 (VEGETATION, shape, rng.uniform(), 0))
        reach = 0.62 * height if shape < 2 else .3 * height
        self.add('shadow', position + np.array([0, 0, -base + .02]), 0.0,
                 (1.7 * width, 1.7 * width, reach), (0, 0, 0), (0, 2, 0, 0))

    def pole(self, position, height: float, width: float = .16, color=(.22, .22, .23)) -> None:
        self.add('pole', position, 0.0, (width, width, height), color, (POLE, 0, 0, 0))

    def lamp_post(self, road: Road, s: float, t: float) -> None:
        base, yaw = road.at(s, t), float(road.heading_at(s))
        height = self.rng.uniform(6.5, 10)
        self.pole(base, height)
        reach = -np.sign(t) * 2.2
        arm = base + np.array([-np.sin(yaw) * reach / 2, np.cos(yaw) * reach / 2, height - .1])
        self.add('box', arm, yaw, (.09, abs(reach), .09), (.22, .22, .23), (POLE, 0, 0, 0))
        head = base + np.array([-np.sin(yaw) * reach, np.cos(yaw) * reach, height - .16])
        self.add('box', head, yaw, (.3, .7, .14), (.3, .3, .3), (POLE, 0, 0, 0))

    def sign(self, road: Road, s: float, t: float, color, size: tuple[float, float],
             height: float = 2.1, facing: float = 0.0) -> None:
        base, yaw = road.at(s, t), float(road.heading_at(s)) + facing
        self.pole(base, height + size[1], .08, (.35, .36, .37))
        front = base + np.array([-.07 * np.cos(yaw), -.07 * np.sin(yaw), height])
        self.add('box', front, yaw, (.04, *size), color, (POLE, 1, self.rng.uniform(), 0))

    def buildings(self, road: Road, sides: tuple[float, float], low: float, high: float,
                  tall: float, corner: float) -> None:
        """Line both sides of a road with buildings, from s = low to high, and end the blocks.

        `sides` are the setback on the left and on the right of the reference line.
        """
        rng = self.rng
        for sign, edge in ((1.0, sides[0]), (-1.0, sides[1])):
            s = low
            while s < high:
                width, depth = rng.uniform(9, 26), rng.uniform(11, 14)
                middle = s + width / 2
                blocked = [j for j in self.layout.junctions if road is self.layout.main
                           and abs(middle - j.s) < j.street.section.right_edge + corner + width / 2]
                if blocked:
                    s = blocked[0].s + blocked[0].street.section.right_edge + corner + .1
                    continue
                height = rng.uniform(4.5, 11) if rng.uniform() > tall else rng.uniform(11, 38)
                setback = edge + rng.uniform(.2, 1.5) + depth / 2
                yaw = float(road.heading_at(middle))
                storey = rng.uniform(2.9, 4.0)
                color = WALLS[rng.integers(len(WALLS))] * rng.uniform(.7, 1.2)
                position = road.at(middle, sign * setback) + np.array([0, 0, -.2])
                self.add('building', position, yaw, (width, depth, height), color,
                         (BUILDING, rng.uniform(1, 9), storey, rng.uniform(.35, .85)))
                self.add('shadow', position + np.array([0, 0, .2]), yaw, (width, depth, height),
                         (0, 0, 0), (0, 0, 0, 0))
                s += width + (rng.uniform(1.5, 9) if rng.uniform() < .35 else .02)

    def houses(self, road: Road, sides: tuple[float, float], low: float, high: float,
               spacing: float) -> None:
        """Scatter detached houses with hedges and trees along a road."""
        rng = self.rng
        for sign, edge in ((1.0, sides[0]), (-1.0, sides[1])):
            s = low + rng.uniform(0, spacing)
            while s < high:
                size = np.array([rng.uniform(9, 15), rng.uniform(8, 11), rng.uniform(6, 9.5)])
                far = edge + rng.uniform(6, 14) + size[1] / 2
                if road is not self.layout.main or self.clear(s, 9 + size[0]):
                    yaw = float(road.heading_at(s)) + (np.pi / 2 if rng.uniform() < .4 else 0)
                    color = WALLS[rng.integers(len(WALLS))] * rng.uniform(.8, 1.3)
                    position = road.at(s, sign * far) + np.array([0, 0, -.3])
                    self.add('house', position, yaw, size, color,
                             (BUILDING, rng.uniform(1, 9), 2.8, rng.uniform(.3, .5)))
                    self.add('shadow', position + np.array([0, 0, .3]), yaw,
                             size * np.array([1, 1, .8]), (0, 0, 0), (0, 0, 0, 0))
                    if rng.uniform() < .5:
                        along = float(road.heading_at(s))
                        hedge = road.at(s, sign * (edge + 1.6)) + np.array([0, 0, -.1])
                        self.add('box', hedge, along, (size[0], .7, rng.uniform(.8, 1.6)),
                                 self.foliage * rng.uniform(.8, 1.6), (VEGETATION, 2, 0, 0))
                s += spacing * rng.uniform(.7, 1.6)

    def finish(self) -> Scenery:
        return Scenery(tuple(self.surfaces),
                       {name: np.stack(rows) for name, rows in self.rows.items()},
                       tuple(self.lamps))


def _ground(build: _Builder) -> None:
    layout, main = build.layout, build.layout.main
    section = main.section
    s = np.arange(0.0, main.length + .1, 4.0)
    extra = [j.s + d for j in layout.junctions for sign in (-1, 1)
             for d in (0, sign * (j.street.section.right_edge + CORNER_RADIUS))]
    s = np.unique(np.concatenate([s, np.asarray(extra)]))
    gap = np.zeros(len(s) - 1, bool)
    middle = (s[1:] + s[:-1]) / 2
    for j in layout.junctions:
        gap |= np.abs(middle - j.s) < j.street.section.right_edge + CORNER_RADIUS - 1e-3
    urban = section.sidewalk > 0
    build.surfaces.append(surfaces.asphalt(main, s, [j.s for j in layout.junctions], 0))
    rows = np.arange(0.0, main.length + .1, 8.0)
    build.surfaces.append(surfaces.terrain(main, rows, build.rng, urban))
    if urban:
        build.surfaces.append(surfaces.pavements(main, s, ~gap, 0))
    for index, junction in enumerate(layout.junctions):
        _side_street(build, junction, index)
    build.surfaces.append(surfaces.land_plane(-.9 if urban else -7.5))


def _side_street(build: _Builder, junction: Junction, index: int) -> None:
    main, street = build.layout.main.section, junction.street
    half = surfaces_middle = street.length / 2
    start = max(main.right_edge, main.left_edge)
    reach = np.concatenate([[start - .4, start + CORNER_RADIUS],
                            np.arange(start + 10, half, 12.0)])
    s = np.concatenate([surfaces_middle - reach[::-1], surfaces_middle + reach])
    keep = np.ones(len(s) - 1, bool)
    keep[len(reach) - 1] = False
    build.surfaces.append(surfaces.asphalt(street, s, [half], index + 1, -.015, keep))
    inner = keep.copy()
    inner[[len(reach) - 2, len(reach)]] = False
    build.surfaces.append(surfaces.pavements(street, s, inner, index + 1))
    build.surfaces.append(surfaces.corners(build.layout, junction))


def _signals(build: _Builder, junction: Junction, index: int) -> None:
    """Hang signal heads beyond the junction for each approach, or put up stop signs."""
    main, rng = build.layout.main, build.rng
    section, side = main.section, junction.street.section
    approaches = ((main, junction.s, 1, 0), (main, junction.s, -1, 0),
                  (junction.street, junction.street.length / 2, 1, 1),
                  (junction.street, junction.street.length / 2, -1, 1))
    for road, middle, sign, axis in approaches:
        own = road.section
        crossed = side.right_edge if axis == 0 else max(section.left_edge, section.right_edge)
        edge = own.right_edge if sign > 0 else own.left_edge
        if not junction.signalled:
            if axis == 1:
                build.sign(road, middle - sign * (crossed + CORNER_RADIUS + 3),
                           -sign * (edge + .6), (.42, .03, .03), (.7, .7),
                           facing=0.0 if sign > 0 else np.pi)
            continue
        far = middle + sign * (crossed + 2.2)
        yaw = float(road.heading_at(middle)) + (0.0 if sign > 0 else np.pi)
        corner = edge + 2.0
        reach = max(corner - own.lane_width * .5, 2.0)
        base = road.at(far, -sign * corner)
        build.pole(base, 6.3, .2)
        arm = road.at(far, -sign * (corner - reach / 2)) + np.array([0, 0, 6.0])
        build.add('box', arm, yaw, (.12, reach, .12), (.2, .2, .2), (POLE, 0, 0, 0))
        for at, height in ((corner - reach, 5.3), (corner - .3, 3.0)):
            place = road.at(far, -sign * at) + np.array([0, 0, height])
            build.add('box', place, yaw, (.25, .34, 1.0), (.035, .035, .03), (POLE, 0, 0, 0))
            build.lamps.append(Lamp((place[0], place[1], place[2]), yaw, index, axis))
    if rng.uniform() < .3:
        build.sign(main, junction.s - 30, -(section.right_edge + .7), (.05, .25, .12), (1.4, .5))


def _parked(build: _Builder) -> None:
    main, rng = build.layout.main, build.rng
    section = main.section
    if not section.parking:
        return
    share = rng.uniform(.25, .9)
    kinds = ('sedan', 'suv', 'hatch', 'pickup', 'van')
    for sign, edge in ((-1, section.right_edge), (1, section.left_edge)):
        for s in np.arange(4.0, main.length - 4, 6.6):
            if rng.uniform() > share or not build.clear(s, CORNER_RADIUS + 9):
                continue
            kind = kinds[rng.choice(5, p=(.38, .26, .18, .1, .08))]
            place = s + rng.uniform(-.4, .4)
            position = main.at(place, sign * (edge - 1.15 + rng.uniform(-.08, .08)))
            yaw = float(main.heading_at(place)) + (0 if sign < 0 else np.pi)
            build.add(kind, position, yaw, (1, 1, 1), vary_paint(rng), (VEHICLE, 0, 0, 0))
            build.rows.setdefault('shadow', []).extend(
                shadow_instances(np.array([[*position, yaw]]), np.array([VEHICLES[kind]])))


def shadow_instances(poses: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the dark contact patches and the sun's shadows of agents, (2 n, 14)."""
    count = len(poses)
    black = np.zeros((count, 3))
    patch = np.stack([sizes[:, 0] * 1.12, sizes[:, 1] * 1.3, np.ones(count)], 1)
    cast = sizes * np.array([.94, .95, .9])
    return np.concatenate([
        instances(poses, patch, black, np.tile((0.0, 1.0, 0.0, 0.0), (count, 1))),
        instances(poses, cast, black, np.tile((0.0, 0.0, 0.1, 0.0), (count, 1)))])


def _open_country(build: _Builder) -> None:
    """Place woods, single trees, barriers, gantries and bridges of highways and rural roads."""
    main, rng = build.layout.main, build.rng
    section = main.section
    highway = build.layout.kind == 'highway'
    s = np.arange(0.0, main.length, 8.0)
    density = rng.uniform(.1, 1.0) ** 1.5
    for sign, edge in ((1, section.left_edge), (-1, section.right_edge)):
        if highway and rng.uniform() < .18:
            build.surfaces.append(surfaces.wall(main, s, sign * (edge + 2.6), rng.uniform(2.5, 4.5),
                                                0))
        if rng.uniform() < .75:
            build.surfaces.append(surfaces.wall(main, s, sign * (edge + rng.uniform(16, 55)),
                                                rng.uniform(9, 20), 2, -2.5))
        if rng.uniform() < (.6 if highway else .25):
            build.surfaces.append(surfaces.wall(main, s, sign * (edge + .7), .85, 1, -.05))
        place = 5.0
        while place < main.length - 5:
            far = rng.uniform(6, 14) if rng.uniform() < .4 else rng.uniform(12, 60)
            shape = None if rng.uniform() < .8 else 2
            height = rng.uniform(5, 13) if shape is None else rng.uniform(1.2, 2.8)
            build.tree(main, place, sign * (edge + far), height, shape, -.8)
            place += rng.uniform(3, 16) / density
    if section.median > .5:
        if section.median < 2.7 or rng.uniform() < .25:
            for t in (-.22, .22):
                build.surfaces.append(surfaces.wall(main, s, t, .86, 0, -.02))
        elif rng.uniform() < .6:
            build.surfaces.append(surfaces.wall(main, s, .4, .85, 1, 0))
    spacing = rng.uniform(35, 60)
    if rng.uniform() < .5:
        for place in np.arange(10, main.length - 10, spacing):
            build.lamp_post(main, place, -(section.right_edge + 1.6))
    for place in np.arange(rng.uniform(30, 150), main.length - 30, 170.0):
        place += rng.uniform(-50, 50)
        if highway and rng.uniform() < .6:
            _bridge(build, place) if rng.uniform() < .5 else _gantry(build, place)
        else:
            color = ((.7, .7, .7), (.6, .42, .03), (.04, .22, .1))[rng.integers(3)]
            build.sign(main, place, -(section.right_edge + 1.5), color, (.9, 1.1))
    if not highway:
        build.houses(main, (section.left_edge + 5, section.right_edge + 5), 20, main.length - 20,
                     rng.uniform(60, 160))
        if rng.uniform() < .7:
            for place in np.arange(5, main.length - 5, rng.uniform(35, 50)):
                build.pole(main.at(place, section.left_edge + 3), 8.5, .26, (.14, .10, .07))


def _bridge(build: _Builder, s: float) -> None:
    main, rng = build.layout.main, build.rng
    section = main.section
    yaw = float(main.heading_at(s)) + rng.uniform(-.12, .12)
    width, level = rng.uniform(9, 16), rng.uniform(5.4, 6.4)
    across = 2 * (max(section.left_edge, section.right_edge) + 26)
    deck, color = main.at(s, 0.0), np.array([.38, .37, .35]) * rng.uniform(.7, 1.2)
    for lift, thick, long in ((level, 1.3, width), (level + 1.3, .9, .3)):
        for shift in ((0.0,) if thick > 1 else (-width / 2, width / 2)):
            at = deck + np.array([np.cos(yaw) * shift, np.sin(yaw) * shift, lift])
            build.add('box', at, yaw, (long, across, thick), color, (BUILDING, 2, 0, 0))
    build.add('shadow', deck + np.array([0, 0, .02]), yaw, (width, across, 1.0), (0, 0, 0),
              (0, 0, level, 0))
    build.add('shadow', deck + np.array([0, 0, .02]), yaw, (width, across, .1), (0, 0, 0),
              (0, 0, .2, 0))
    spots = [section.left_edge + 2.2, -section.right_edge - 2.2]
    spots += [0.0] if section.median > .8 else []
    for t in spots:
        for along in (-.3, .3):
            at = main.at(s + along * width, t) + np.array([0, 0, -.5])
            build.add('box', at, yaw, (.8, .55 if t == 0 else .8, level + .6), color,
                      (BUILDING, 2, 0, 0))


def _gantry(build: _Builder, s: float) -> None:
    main, rng = build.layout.main, build.rng
    section, yaw = main.section, float(main.heading_at(s))
    right, left = -section.right_edge - 1.0, 0.0 if section.median > 1 else section.left_edge + 1
    for t in (right, left):
        build.pole(main.at(s, t), 7.2, .35, (.40, .41, .42))
    middle = main.at(s, (right + left) / 2)
    for z in (6.2, 7.0):
        build.add('box', middle + np.array([0, 0, z]), yaw, (.22, left - right, .22),
                  (.40, .41, .42), (POLE, 0, 0, 0))
    for lane in range(section.lanes_forward):
        if rng.uniform() < .65:
            at = main.at(s - .3, section.lane_offset(lane)) + np.array([0, 0, 5.6])
            build.add('box', at, yaw, (.06, rng.uniform(2.2, 3.4), rng.uniform(1.4, 2.4)),
                      (.015, .16, .08), (POLE, 1, rng.uniform(), 0))


def _town(build: _Builder) -> None:
    layout, main, rng = build.layout, build.layout.main, build.rng
    section = main.section
    sides = (section.left_edge + section.sidewalk, section.right_edge + section.sidewalk)
    suburb = layout.kind == 'suburb'
    tall = rng.uniform(0, .8)
    corner = section.sidewalk
    if suburb:
        build.houses(main, sides, 5, main.length - 5, rng.uniform(20, 32))
    else:
        build.buildings(main, sides, 0, main.length, tall, corner)
    trees = rng.uniform(7, 30) if rng.uniform() < .85 else 1e3
    for sign, edge in ((1, sides[0]), (-1, sides[1])):
        s = rng.uniform(5, 20)
        while s < main.length - 5:
            if build.clear(s, 9.5):
                out = rng.uniform(.5, 4) if suburb else -.7
                build.tree(main, s, sign * (edge + out), rng.uniform(4.5, 9.5), base=0.0)
            s += trees * rng.uniform(.6, 1.5)
        for s in np.arange(rng.uniform(8, 30), main.length - 8, rng.uniform(28, 45)):
            if build.clear(s, 7):
                build.lamp_post(main, s, sign * (edge - section.sidewalk + .5))
        for s in np.arange(rng.uniform(15, 70), main.length - 8, 70.0):
            if sign < 0 and build.clear(s, 7):
                build.sign(main, s, sign * (edge - section.sidewalk + .45),
                           ((.7, .7, .7), (.05, .2, .45), (.6, .42, .03))[rng.integers(3)],
                           (.55, .7))
    for index, junction in enumerate(layout.junctions):
        _signals(build, junction, index)
        street = junction.street
        half = street.length / 2
        edge = street.section.right_edge + street.section.sidewalk
        start = max(sides) + 16
        for low, high in ((0.0, half - start), (half + start, street.length)):
            if suburb:
                build.houses(street, (edge, edge), low, high, 26)
            else:
                build.buildings(street, (edge, edge), low, high, tall, corner)
            for s in np.arange(low + 4, high, trees):
                build.tree(street, s, (edge - .8) * rng.choice((-1, 1)), rng.uniform(4.5, 9),
                           base=0.0)
        for s, facing in ((0.0, 0.0), (street.length, np.pi)):
            position = street.at(s, 0.0)
            build.add('building', position, float(street.heading_at(s)) + facing, (12, 60, 14),
                      WALLS[rng.integers(len(WALLS))], (BUILDING, rng.uniform(1, 9), 3.3, .5))


def build_scenery(layout: Layout, rng: np.random.Generator,
                  foliage: tuple[float, float, float]) -> Scenery:
    """Draw the static scenery of a world."""
    build = _Builder(layout, rng, foliage)
    _ground(build)
    if layout.main.section.sidewalk > 0:
        _town(build)
        _parked(build)
    else:
        _open_country(build)
    return build.finish()
