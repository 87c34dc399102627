# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Clips of the street world that begin where the ego's next turn is open."""

import numpy as np

from deltaworld_training.data.street_clips import StreetClips
from deltaworld_training.street.world import StreetWorld

EGO = 0
# Distance to the stop line at the beginning of a clip, drawn uniformly, in metres.
NEAREST, FARTHEST = 0.5, 7.0
# A world whose ego reaches no junction by this time (s) gives way to another one.
LAST_START = 20.0
STEP = 0.1
# Whoever waits at the line shows no turn within a clip, m/s.
LEAST_SPEED = 2.0


class JunctionClips(StreetClips):
    """
    Street clips in which the ego comes to a junction and takes each possible turn alike often.

    Few moments of ordinary clips are open in this way. Of seeds without such a moment the clip
    is that of a later seed.
    """

    def world(self, seed: int, generator: np.random.Generator) -> StreetWorld:
        """Return the world of a seed, or of a later one, before a junction."""
        distance = generator.uniform(NEAREST, FARTHEST)
        while True:
            world = StreetWorld(seed)
            options = approach(world, distance)
            if options:
                turn = ('straight', *options)[generator.integers(len(options) + 1)]
                world.branch(0, {(EGO, 'route'): turn})
                return world
            seed += self.count


def approach(world: StreetWorld, distance: float) -> list[str]:
    """
    Advance a world until the ego is `distance` metres before a junction, and stop there.

    Return the turns that it can still make, none where it comes to no such place in time.
    """
    while world.layout.junctions and world.time < LAST_START:
        junction, left = world.driving.next_junction(world.vehicles, EGO)
        if junction >= 0 and left < distance and world.vehicles.v[EGO] > LEAST_SPEED:
            options = world.driving.route_options(world.vehicles, EGO, junction)
            if options:
                return list(options)
        world.step(STEP)
    return []
