# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The static part of a world: surfaces, instance tables and signal heads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deltaworld_training.street import surfaces
from deltaworld_training.street.country import furnish_country
from deltaworld_training.street.layout import CORNER_RADIUS, Layout
from deltaworld_training.street.roadside import Lamp, Roadside
from deltaworld_training.street.surfaces import Surface
from deltaworld_training.street.town import furnish_town


@dataclass(frozen=True)
class Scenery:
    """Everything of a world that never moves."""

    surfaces: tuple[Surface, ...]
    instances: dict[str, np.ndarray]
    lamps: tuple[Lamp, ...]


def build_scenery(layout: Layout, rng: np.random.Generator,
                  foliage: tuple[float, float, float]) -> Scenery:
    """Draw the static scenery of a world."""
    build = Roadside(layout, rng, foliage)
    _ground(build)
    if layout.main.section.sidewalk > 0:
        furnish_town(build)
    else:
        furnish_country(build)
    return Scenery(tuple(build.surfaces),
                   {name: np.stack(rows) for name, rows in build.rows.items()},
                   tuple(build.lamps))


def _ground(build: Roadside) -> None:
    """Build the main road, its sidewalks and the land; sidewalks end at side streets."""
    main, junctions = build.layout.main, build.layout.junctions
    bounds = [j.s + sign * (j.street.section.right_edge + CORNER_RADIUS)
              for j in junctions for sign in (-1, 1)]
    middles = [j.s for j in junctions]
    s = np.unique(np.concatenate([np.arange(0.0, main.length + .1, 4.0), bounds, middles]))
    between = (s[1:] + s[:-1]) / 2
    gap = np.zeros(len(between), bool)
    for j in junctions:
        gap |= np.abs(between - j.s) < j.street.section.right_edge + CORNER_RADIUS - 1e-3
    build.surfaces.append(surfaces.asphalt(main, s, middles, 0))
    build.surfaces.append(build.land.surface())
    if main.section.sidewalk > 0:
        build.surfaces.append(surfaces.pavements(main, s, ~gap, 0))
        build.surfaces.append(surfaces.land_plane(-.9))
    else:
        build.surfaces.append(surfaces.land_plane(-7.5))
