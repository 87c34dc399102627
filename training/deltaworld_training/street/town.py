# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What stands along streets with sidewalks: buildings, parked cars, signals, street trees."""

from __future__ import annotations

import numpy as np

from deltaworld_training.street import surfaces
from deltaworld_training.street.instances import (
    BUILDING,
    POLE,
    VEHICLE,
    shadow_instances,
    vary_paint,
)
from deltaworld_training.street.layout import CORNER_RADIUS, Junction, Road
from deltaworld_training.street.meshes import VEHICLES
from deltaworld_training.street.roadside import WALLS, Lamp, Roadside

_PARKED = ('sedan', 'suv', 'hatch', 'pickup', 'van')
_PARKED_ODDS = (.38, .26, .18, .1, .08)


def furnish_town(build: Roadside) -> None:
    """Furnish the main road and its side streets."""
    layout, main, rng = build.layout, build.layout.main, build.rng
    section = main.section
    sides = (section.left_edge + section.sidewalk, section.right_edge + section.sidewalk)
    suburb = layout.kind == 'suburb'
    tall = rng.uniform(0, .8)
    if suburb:
        build.houses(main, sides, 5, main.length - 5, rng.uniform(20, 32))
    else:
        build.buildings(main, sides, 0, main.length, tall)
    trees = rng.uniform(7, 30) if rng.uniform() < .85 else 1e3
    for sign, edge in ((1, sides[0]), (-1, sides[1])):
        _street_furniture(build, sign, edge, trees, suburb)
    for index, junction in enumerate(layout.junctions):
        _side_street(build, junction, index, max(sides) + 16, tall, trees, suburb)
    _parked_cars(build)


def _street_furniture(build: Roadside, sign: int, edge: float, spacing: float,
                      suburb: bool) -> None:
    """Place trees, lamps and signs on one side of the main road."""
    main, rng = build.layout.main, build.rng
    kerb = edge - main.section.sidewalk
    s = rng.uniform(5, 20)
    while s < main.length - 5:
        if build.clear(s, 9.5):
            out = rng.uniform(.5, 4) if suburb else -.7
            build.tree(main, s, sign * (edge + out), rng.uniform(4.5, 9.5), base=0.0)
        s += spacing * rng.uniform(.6, 1.5)
    for s in np.arange(rng.uniform(8, 30), main.length - 8, rng.uniform(28, 45)):
        if build.clear(s, 7):
            build.lamp_post(main, s, sign * (kerb + .5))
    for s in np.arange(rng.uniform(15, 70), main.length - 8, 70.0):
        if sign < 0 and build.clear(s, 7):
            color = ((.7, .7, .7), (.05, .2, .45), (.6, .42, .03))[rng.integers(3)]
            build.sign(main, s, sign * (kerb + .45), color, (.55, .7))


def _side_street(build: Roadside, junction: Junction, index: int, start: float, tall: float,
                 trees: float, suburb: bool) -> None:
    """Build one side street: its ground, its buildings and the signals of its junction."""
    rng, street = build.rng, junction.street
    half = street.length / 2
    _side_street_ground(build, junction, index)
    _signals(build, junction, index)
    edge = street.section.right_edge + street.section.sidewalk
    for low, high in ((0.0, half - start), (half + start, street.length)):
        if suburb:
            build.houses(street, (edge, edge), low, high, 26)
        else:
            build.buildings(street, (edge, edge), low, high, tall)
        for s in np.arange(low + 4, high, trees):
            build.tree(street, s, (edge - .8) * rng.choice((-1, 1)), rng.uniform(4.5, 9), base=0.0)
    for s in (0.0, street.length):  # the view along the street ends at a building
        build.add('building', street.at(s, 0.0), float(street.heading_at(s)), (12, 60, 14),
                  WALLS[rng.integers(len(WALLS))], (BUILDING, rng.uniform(1, 9), 3.3, .5))


def _side_street_ground(build: Roadside, junction: Junction, index: int) -> None:
    main, street = build.layout.main.section, junction.street
    half = street.length / 2
    start = max(main.right_edge, main.left_edge)
    reach = np.concatenate([[start - .4, start + CORNER_RADIUS],
                            np.arange(start + 10, half, 12.0)])
    s = np.concatenate([half - reach[::-1], half + reach])
    keep = np.ones(len(s) - 1, bool)
    keep[len(reach) - 1] = False
    # Slightly lower than the main road, which covers the junction.
    build.surfaces.append(surfaces.asphalt(street, s, [half], index + 1, -.015, keep))
    inner = keep.copy()
    inner[[len(reach) - 2, len(reach)]] = False
    build.surfaces.append(surfaces.pavements(street, s, inner, index + 1))
    build.surfaces.append(surfaces.corners(build.layout, junction))


def _signals(build: Roadside, junction: Junction, index: int) -> None:
    """Hang signal heads beyond the junction for each approach, or put up stop signs."""
    main, side = build.layout.main, junction.street
    section = main.section
    approaches = ((main, junction.s, 1, 0), (main, junction.s, -1, 0),
                  (side, side.length / 2, 1, 1), (side, side.length / 2, -1, 1))
    for road, middle, sign, axis in approaches:
        crossed = (side.section.right_edge if axis == 0
                   else max(section.left_edge, section.right_edge))
        if junction.signalled:
            _mast(build, road, middle + sign * (crossed + 2.2), sign, index, axis)
        elif axis == 1:
            edge = road.section.right_edge
            build.sign(road, middle - sign * (crossed + CORNER_RADIUS + 3), -sign * (edge + .6),
                       (.42, .03, .03), (.7, .7), facing=0.0 if sign > 0 else np.pi)
    if build.rng.uniform() < .3:
        build.sign(main, junction.s - 30, -(section.right_edge + .7), (.05, .25, .12), (1.4, .5))


def _mast(build: Roadside, road: Road, s: float, sign: int, junction: int, axis: int) -> None:
    """Add a signal mast with an arm over the road, for the traffic of one direction."""
    section = road.section
    yaw = float(road.heading_at(s)) + (0.0 if sign > 0 else np.pi)
    corner = (section.right_edge if sign > 0 else section.left_edge) + 2.0
    reach = max(corner - section.lane_width * .5, 2.0)
    build.pole(road.at(s, -sign * corner), 6.3, .2)
    arm = road.at(s, -sign * (corner - reach / 2)) + np.array([0, 0, 6.0])
    build.add('box', arm, yaw, (.12, reach, .12), (.2, .2, .2), (POLE, 0, 0, 0))
    for t, height in ((corner - reach, 5.3), (corner - .3, 3.0)):
        place = road.at(s, -sign * t) + np.array([0, 0, height])
        build.add('box', place, yaw, (.25, .34, 1.0), (.035, .035, .03), (POLE, 0, 0, 0))
        build.lamps.append(Lamp((place[0], place[1], place[2]), yaw, junction, axis))


def _parked_cars(build: Roadside) -> None:
    main, rng = build.layout.main, build.rng
    section = main.section
    if not section.parking:
        return
    share = rng.uniform(.25, .9)
    for sign, edge in ((-1, section.right_edge), (1, section.left_edge)):
        for s in np.arange(4.0, main.length - 4, 6.6):
            if rng.uniform() > share or not build.clear(s, CORNER_RADIUS + 9):
                continue
            kind = _PARKED[rng.choice(5, p=_PARKED_ODDS)]
            place = s + rng.uniform(-.4, .4)
            position = main.at(place, sign * (edge - 1.15 + rng.uniform(-.08, .08)))
            yaw = float(main.heading_at(place)) + (0 if sign < 0 else np.pi)
            build.add(kind, position, yaw, (1, 1, 1), vary_paint(rng), (VEHICLE, 0, 0, 0))
            build.rows.setdefault('shadow', []).extend(
                shadow_instances(np.array([[*position, yaw]]), np.array([VEHICLES[kind]])))
