# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A builder that collects what stands beside the roads of one world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deltaworld_training.street.instances import BUILDING, POLE, VEGETATION, Numbers, instance
from deltaworld_training.street.land import Land
from deltaworld_training.street.layout import Layout, Road
from deltaworld_training.street.surfaces import Surface

WALLS = np.array([
    (.45, .40, .33), (.38, .22, .15), (.30, .14, .10), (.55, .52, .48), (.30, .30, .31),
    (.62, .58, .46), (.42, .34, .28), (.20, .22, .26), (.50, .30, .22), (.65, .64, .62)])
_STEEL = (.22, .22, .23)
_BLACK = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Lamp:
    """One signal head: where it hangs and whose stop line it serves."""

    position: tuple[float, float, float]
    yaw: float
    junction: int
    axis: int


class Roadside:
    """Instances and surfaces of a world under construction."""

    def __init__(self, layout: Layout, rng: np.random.Generator,
                 foliage: tuple[float, float, float]) -> None:
        self.layout, self.rng = layout, rng
        self.foliage = np.asarray(foliage)
        self.land = Land(layout.main, rng, layout.main.section.sidewalk > 0)
        self.rows: dict[str, list[np.ndarray]] = {}
        self.surfaces: list[Surface] = []
        self.lamps: list[Lamp] = []

    def add(self, mesh: str, position: Numbers, yaw: float, scale: Numbers, color: Numbers,
            param: Numbers) -> None:
        """Add one instance of a mesh."""
        self.rows.setdefault(mesh, []).append(instance(position, yaw, scale, color, param))

    def clear(self, s: float, margin: float) -> bool:
        """Tell whether arc length s of the main road is away from every junction."""
        return all(abs(s - j.s) > j.street.section.right_edge + margin
                   for j in self.layout.junctions)

    def tree(self, road: Road, s: float, t: float, height: float, shape: int | None = None,
             base: float = -0.15) -> None:
        """Add a tree (shape 0 broad, 1 conifer, None either) or a bush (2) and its shadow."""
        rng = self.rng
        if shape is None:
            shape = int(rng.uniform() < 0.3)
        slim = ((.34, .5), (.18, .26), (.6, .9))[shape]
        width = height * rng.uniform(*slim)
        position = road.at(s, t) + np.array([0, 0, base])
        color = self.foliage * np.exp(rng.normal(0, .22) + rng.normal(0, .10, 3))
        if shape == 1:
            color = color * np.array([.6, .75, .8])
        self.add('tree', position, 0.0, (width, width, height), color,
                 (VEGETATION, shape, rng.uniform(), 0))
        reach = 0.62 * height if shape < 2 else .3 * height
        self.add('shadow', road.at(s, t) + np.array([0, 0, .02]), 0.0,
                 (1.7 * width, 1.7 * width, reach), _BLACK, (0, 2, 0, 0))

    def pole(self, position: np.ndarray, height: float, width: float = .16,
             color: Numbers = _STEEL) -> None:
        """Add an upright pole."""
        self.add('pole', position, 0.0, (width, width, height), color, (POLE, 0, 0, 0))

    def lamp_post(self, road: Road, s: float, t: float) -> None:
        """Add a street lamp whose arm reaches over the road."""
        base, yaw = road.at(s, t), float(road.heading_at(s))
        height = self.rng.uniform(6.5, 10)
        self.pole(base, height)
        reach = -np.sign(t) * 2.2
        across = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
        up = np.array([0.0, 0.0, 1.0])
        self.add('box', base + across * reach / 2 + up * (height - .1), yaw,
                 (.09, abs(reach), .09), _STEEL, (POLE, 0, 0, 0))
        self.add('box', base + across * reach + up * (height - .16), yaw, (.3, .7, .14),
                 (.3, .3, .3), (POLE, 0, 0, 0))

    def sign(self, road: Road, s: float, t: float, color: Numbers, size: tuple[float, float],
             facing: float = 0.0) -> None:
        """Add a sign (width, height) on a post; facing 0 is read by forward traffic."""
        base, yaw = road.at(s, t), float(road.heading_at(s)) + facing
        self.pole(base, 2.1 + size[1], .08, (.35, .36, .37))
        front = base + np.array([-.07 * np.cos(yaw), -.07 * np.sin(yaw), 2.1])
        self.add('box', front, yaw, (.04, *size), color, (POLE, 1, self.rng.uniform(), 0))

    def _walls(self, mesh: str, road: Road, s: float, t: float, sink: float, yaw: float,
               size: Numbers, param: Numbers, shade: Numbers) -> None:
        """Add a building and its shadow."""
        color = WALLS[self.rng.integers(len(WALLS))] * self.rng.uniform(.7, 1.25)
        ground = road.at(s, t)
        self.add(mesh, ground + np.array([0, 0, -sink]), yaw, size, color, param)
        self.add('shadow', ground, yaw, shade, _BLACK, (0, 0, 0, 0))

    def buildings(self, road: Road, sides: tuple[float, float], low: float, high: float,
                  tall: float) -> None:
        """Line both sides of a road with buildings from s = low to high, ending at corners.

        `sides` are the setbacks on the left and on the right of the reference line, and `tall`
        the share of high buildings.
        """
        rng, main = self.rng, self.layout.main
        corner = main.section.sidewalk
        for sign, edge in ((1.0, sides[0]), (-1.0, sides[1])):
            s = low
            while s < high - 6:
                width, depth = min(rng.uniform(9, 26), high - s), rng.uniform(11, 14)
                middle = s + width / 2
                blocking = [j for j in self.layout.junctions if road is main and abs(middle - j.s)
                            < j.street.section.right_edge + corner + width / 2]
                if blocking:
                    s = blocking[0].s + blocking[0].street.section.right_edge + corner + .1
                    continue
                height = rng.uniform(4.5, 11) if rng.uniform() > tall else rng.uniform(11, 38)
                size = (width, depth, height)
                setback = edge + rng.uniform(.2, 1.5) + depth / 2
                param = (BUILDING, rng.uniform(1, 9), rng.uniform(2.9, 4.0), rng.uniform(.35, .85))
                self._walls('building', road, middle, sign * setback, .2,
                            float(road.heading_at(middle)), size, param, size)
                s += width + (rng.uniform(1.5, 9) if rng.uniform() < .35 else .02)

    def houses(self, road: Road, sides: tuple[float, float], low: float, high: float,
               spacing: float) -> None:
        """Scatter detached houses, some with a hedge, along a road."""
        rng, main = self.rng, self.layout.main
        for sign, edge in ((1.0, sides[0]), (-1.0, sides[1])):
            s = low + rng.uniform(0, spacing)
            while s < high:
                size = np.array([rng.uniform(9, 15), rng.uniform(8, 11), rng.uniform(6, 9.5)])
                t = sign * (edge + rng.uniform(6, 14) + size[1] / 2)
                if road is not main or self.clear(s, 9 + size[0]):
                    along = float(road.heading_at(s))
                    yaw = along + (np.pi / 2 if rng.uniform() < .4 else 0)
                    raised = [min(self.land.height(s, at), 1.5) if road is main else 0.0
                              for at in (t, sign * (edge + 1.6))]
                    param = (BUILDING, rng.uniform(1, 9), 2.8, rng.uniform(.3, .5))
                    self._walls('house', road, s, t, .3 - raised[0], yaw, size, param,
                                size * np.array([1, 1, .8]))
                    if rng.uniform() < .5:
                        hedge = road.at(s, sign * (edge + 1.6)) + np.array([0, 0, raised[1] - .1])
                        self.add('box', hedge, along, (size[0], .7, rng.uniform(.8, 1.6)),
                                 self.foliage * rng.uniform(.8, 1.6), (VEGETATION, 2, 0, 0))
                s += spacing * rng.uniform(.7, 1.6)
