# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One episode: a world, a scenario, a governor and one kind of information."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deltaworld_ros.planning.governor import Rules, Scene, SpeedGovernor
from deltaworld_ros.planning.risk import Braking, Trust
from deltaworld_training.closed_loop.cache import CachedFrames
from deltaworld_training.closed_loop.ego import BRAKING, EGO, curvature, drive, planned_speed
from deltaworld_training.closed_loop.information import CAUTIOUS, Observer
from deltaworld_training.closed_loop.measures import MAX_SECONDS, contact
from deltaworld_training.closed_loop.scenarios import CALM, Scenario, trigger
from deltaworld_training.data.photometric import apply_look, sample_look
from deltaworld_training.street.renderer import Frame
from deltaworld_training.street.world import State, StreetWorld

PERIOD = 0.2     # s between decisions
CONTEXT = 0.6    # s in which the context fills: the ego keeps its speed, alike for every kind
LENGTH = 5.0     # s
# Chosen before any test episode was run. The car brakes by 4 of its 5 m/s2, so that there is some
# room for error; the corridor is 0.3 m wider than a car on each side. Forecasts may release: who
# takes every car ahead to stand still, as present maps must, cannot drive in traffic.
RULES = Rules(
    braking=Braking(reaction=PERIOD + 0.1, deceleration=0.8 * BRAKING, standstill=1.5),
    half_width=1.2, front=2.2, level=0.2, acceleration=1.8, hold=0.2,
    trust=Trust(release=True, lead_deceleration=6.5))
# The governor's default: a forecast adds to the caution that the present asks for.
CAUTIOUS_RULES = dataclasses.replace(RULES, trust=Trust())


# Called at each decision with the world, what the camera shows, what the governor knows of it, the
# speed that it lets through (m/s), and whether the ego has hit somebody.
Watch = Callable[[StreetWorld, Frame, Scene | None, float, bool], None]


@dataclass(frozen=True)
class Record:
    """
    What came of an episode; speeds in m/s, times in s, distances in m.

    `brake_onset` is when the governor first took more than a tenth off the planned speed, after
    the scenario began; None if never. `stopped` says that it asked for less than half of the
    planned speed at any time, `limited` in what share of the decisions it took off anything.
    """

    seed: int
    kind: str
    scenario: str
    collided: bool
    impact_speed: float
    brake_onset: float | None
    least_time_to_collision: float
    stopped: bool
    limited: float
    distance: float


def run_episode(world: StreetWorld, beginning: State, scenario: Scenario, observer: Observer,
                renderer: CachedFrames, kind: str, watch: Watch | None = None) -> Record:
    """Play a world from its beginning, with the observer's kind of information."""
    world.restore(beginning)
    generator = np.random.default_rng((world.seed, 3))
    look = sample_look(generator)
    start, first, initial = world.time, float(world.vehicles.s[EGO]), float(world.vehicles.v[EGO])
    governor = SpeedGovernor(CAUTIOUS_RULES if kind == CAUTIOUS else RULES, initial)
    onset: float | None = None
    shares, least, impact = [], MAX_SECONDS, None
    pending = scenario.name != CALM
    for decision in range(round(LENGTH / PERIOD)):
        time = decision * PERIOD
        frame = renderer.render(world)
        decides = time >= CONTEXT - 1e-6
        scene = observer.observe(
            world, frame, apply_look(frame.rgb, look, generator), wanted=decides)
        speed = initial
        if decides:
            planned = planned_speed(world)
            speed = governor.limit(
                world.time, planned, planned * curvature(world), _dynamic(scene)).speed
            shares.append(speed / planned if planned > 0.1 else 1.0)
            if onset is None and time >= scenario.time and shares[-1] < 0.9:
                onset = time - scenario.time
        if watch is not None:
            watch(world, frame, _dynamic(scene), speed, False)
        for _ in range(round(PERIOD / 0.1)):
            if pending and world.time - start >= scenario.time - 1e-6:
                trigger(world, scenario)
                pending = False
            drive(world, speed, 1)
            found = contact(world)
            least = min(least, found.time_to_collision)
            if impact is None and found.impact_speed is not None:
                impact = found.impact_speed
        if impact is not None:
            if watch is not None:
                watch(world, renderer.render(world), None, speed, True)
            break
    ratios = np.array(shares)
    return Record(
        world.seed, kind, scenario.name, impact is not None, impact or 0.0, onset, least,
        bool((ratios < 0.5).any()), float((ratios < 0.9).mean()),
        float(world.vehicles.s[EGO]) - first)


def _dynamic(scene: Scene | None) -> Scene | None:
    """Return a scene of people and vehicles alone: the route keeps the ego off the roadside."""
    if scene is None:
        return None
    return dataclasses.replace(
        scene, obstacles=scene.obstacles.where(scene.obstacles.dynamic))
