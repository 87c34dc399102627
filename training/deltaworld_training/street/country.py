# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What stands along highways and rural roads: woods, barriers, bridges, gantries, houses."""

from __future__ import annotations

import numpy as np

from deltaworld_training.street import surfaces
from deltaworld_training.street.instances import BUILDING, POLE
from deltaworld_training.street.roadside import Roadside

_GALVANISED = (.40, .41, .42)


def furnish_country(build: Roadside) -> None:
    """Furnish the main road."""
    main, rng = build.layout.main, build.rng
    section = main.section
    highway = build.layout.kind == 'highway'
    for sign, edge in ((1, section.left_edge), (-1, section.right_edge)):
        _verge(build, sign, edge, rng.uniform(.1, 1.0) ** 1.5, highway)
    _median(build)
    if rng.uniform() < .5:
        for s in np.arange(10, main.length - 10, rng.uniform(35, 60)):
            build.lamp_post(main, s, -(section.right_edge + 1.6))
    for s in np.arange(rng.uniform(30, 150), main.length - 30, 170.0):
        s += rng.uniform(-50, 50)
        if highway and rng.uniform() < .6:
            if rng.uniform() < .5:
                _bridge(build, s)
            else:
                _gantry(build, s)
        else:
            color = ((.7, .7, .7), (.6, .42, .03), (.04, .22, .1))[rng.integers(3)]
            build.sign(main, s, -(section.right_edge + 1.5), color, (.9, 1.1))
    if not highway:
        build.houses(main, (section.left_edge + 5, section.right_edge + 5), 20, main.length - 20,
                     rng.uniform(60, 160))
        if rng.uniform() < .7:
            for s in np.arange(5, main.length - 5, rng.uniform(35, 50)):
                build.pole(main.at(s, section.left_edge + 3), 8.5, .26, (.14, .10, .07))


def _verge(build: Roadside, sign: int, edge: float, density: float, highway: bool) -> None:
    """Place walls, rails, woods and trees on one side of the road."""
    main, rng, land = build.layout.main, build.rng, build.land
    s = np.arange(0.0, main.length, 8.0)
    if highway and rng.uniform() < .18:
        wall = surfaces.wall(main, s, sign * (edge + 2.6), rng.uniform(2.5, 4.5), 0)
        build.surfaces.append(wall)
    if rng.uniform() < .75:
        t = sign * (edge + rng.uniform(16, 55))
        base = np.array([land.height(place, t) for place in s]) - .6
        build.surfaces.append(surfaces.wall(main, s, t, rng.uniform(8, 17), 2, base))
    if rng.uniform() < (.6 if highway else .25):
        build.surfaces.append(surfaces.wall(main, s, sign * (edge + .7), .85, 1, -.05))
    place = 5.0
    while place < main.length - 5:
        t = sign * (edge + (rng.uniform(6, 14) if rng.uniform() < .4 else rng.uniform(12, 60)))
        shape = None if rng.uniform() < .8 else 2
        height = rng.uniform(5, 13) if shape is None else rng.uniform(1.2, 2.8)
        build.tree(main, place, t, height, shape, land.height(place, t) - .25)
        place += rng.uniform(3, 16) / density


def _median(build: Roadside) -> None:
    """Part both directions of a highway by a concrete barrier or a guard rail."""
    main, rng = build.layout.main, build.rng
    s = np.arange(0.0, main.length, 8.0)
    if main.section.median <= .5:
        return
    if main.section.median < 2.7 or rng.uniform() < .25:
        for t in (-.22, .22):
            build.surfaces.append(surfaces.wall(main, s, t, .86, 0, -.02))
    elif rng.uniform() < .6:
        build.surfaces.append(surfaces.wall(main, s, .4, .85, 1, 0))


def _bridge(build: Roadside, s: float) -> None:
    """Lead another road over the highway: deck, parapets, piers and the shadow below."""
    main, rng = build.layout.main, build.rng
    section = main.section
    yaw = float(main.heading_at(s)) + rng.uniform(-.12, .12)
    width, level = rng.uniform(9, 16), rng.uniform(5.4, 6.4)
    across = 2 * (max(section.left_edge, section.right_edge) + 26)
    ground, color = main.at(s, 0.0), np.array([.38, .37, .35]) * rng.uniform(.7, 1.2)
    concrete = (BUILDING, 2, 0, 0)
    build.add('box', ground + np.array([0, 0, level]), yaw, (width, across, 1.3), color, concrete)
    for shift in (-width / 2, width / 2):
        at = ground + np.array([np.cos(yaw) * shift, np.sin(yaw) * shift, level + 1.3])
        build.add('box', at, yaw, (.3, across, .9), color, concrete)
    for lift, thick in ((level, 1.0), (.2, .1)):  # cast by the sun, and from the sky above
        build.add('shadow', ground + np.array([0, 0, .02]), yaw, (width, across, thick),
                  (0, 0, 0), (0, 0, lift, 0))
    spots = [section.left_edge + 2.2, -section.right_edge - 2.2]
    spots += [0.0] if section.median > .8 else []
    for t in spots:
        for along in (-.3, .3):
            at = main.at(s + along * width, t) + np.array([0, 0, -.5])
            build.add('box', at, yaw, (.8, .55 if t == 0 else .8, level + .6), color, concrete)


def _gantry(build: Roadside, s: float) -> None:
    """Span the forward lanes by a frame with green signs."""
    main, rng = build.layout.main, build.rng
    section, yaw = main.section, float(main.heading_at(s))
    right = -section.right_edge - 1.0
    left = 0.0 if section.median > 1 else section.left_edge + 1
    for t in (right, left):
        build.pole(main.at(s, t), 7.2, .35, _GALVANISED)
    middle = main.at(s, (right + left) / 2)
    for z in (6.2, 7.0):
        build.add('box', middle + np.array([0, 0, z]), yaw, (.22, left - right, .22), _GALVANISED,
                  (POLE, 0, 0, 0))
    for lane in range(section.lanes_forward):
        if rng.uniform() < .65:
            at = main.at(s - .3, section.lane_offset(lane)) + np.array([0, 0, 5.6])
            build.add('box', at, yaw, (.06, rng.uniform(2.2, 3.4), rng.uniform(1.4, 2.4)),
                      (.015, .16, .08), (POLE, 1, rng.uniform(), 0))
