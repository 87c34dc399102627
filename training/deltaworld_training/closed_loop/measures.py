# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What really happens between the ego and others: gaps, times to collision and collisions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deltaworld_training.closed_loop.ego import EGO
from deltaworld_training.street.vehicles import discs
from deltaworld_training.street.world import StreetWorld

_WALKER = 0.25   # m, radius of a pedestrian
# Only the foremost part of the ego hits anything: who walks into its side was not run over. It is
# as long as the way between two looks at 12 m/s.
_FRONT = 1.2     # m
MAX_SECONDS = 10.0   # s, as which longer times to collision count


@dataclass(frozen=True)
class Contact:
    """The least time to collision (s) ahead, and the speed (m/s) of an impact, None without."""

    time_to_collision: float
    impact_speed: float | None


def contact(world: StreetWorld) -> Contact:
    """Measure a world now; what hits the ego from behind or the side is not its doing."""
    vehicles, walkers = world.vehicles, world.walkers
    poses = vehicles.poses(world.routes)
    x0, y0, _, heading = poses[EGO]
    forward, left = np.array([np.cos(heading), np.sin(heading)]), \
        np.array([-np.sin(heading), np.cos(heading)])
    others = np.arange(len(vehicles)) != EGO
    bodies = discs(poses, vehicles.length, vehicles.width)[others].reshape(-1, 2)
    radius = np.repeat(0.5 * vehicles.width[others], 5)
    speeds = np.repeat(vehicles.v[others] * np.cos(poses[others, 3] - heading), 5)
    if len(walkers):
        places = world.layout.main.at(walkers.s, walkers.t)[:, :2]
        along, aside = walkers.velocity()
        road = world.layout.main.heading_at(walkers.s)
        velocity = np.stack([along * np.cos(road) - aside * np.sin(road),
                             along * np.sin(road) + aside * np.cos(road)], axis=-1)
        bodies = np.concatenate([bodies, places])
        radius = np.append(radius, np.full(len(walkers), _WALKER))
        speeds = np.append(speeds, velocity @ forward)
    away = bodies - (x0, y0)
    ahead, beside = away @ forward, np.abs(away @ left)
    length, width = 0.5 * vehicles.length[EGO], 0.5 * vehicles.width[EGO]
    gap = ahead - length - radius
    in_way = (beside < width + radius) & (ahead > 0)
    closing = vehicles.v[EGO] - speeds
    hit = in_way & (gap < 0) & (closing > 0) & (ahead + radius > length - _FRONT)
    times = gap[in_way & (closing > 0.1)] / closing[in_way & (closing > 0.1)]
    return Contact(
        float(np.clip(times.min(), 0, MAX_SECONDS)) if times.size else MAX_SECONDS,
        float(closing[hit].max()) if hit.any() else None)
