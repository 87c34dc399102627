# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Find moments of the street world whose future is open and soon visible."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deltaworld_training.street.renderer import Renderer
from deltaworld_training.street.vehicles import ROUTES
from deltaworld_training.street.world import Choice, State, StreetWorld

EGO = 0
LAST_START = 5.0  # s, of the context within a world
SEARCH_STEP = 0.2  # s between the starts that are tried
# Where the pasts of two intents differ by less, nobody could tell the intents apart.
SAME_PLACE, SAME_HEADING = 0.1, 0.01  # m and rad of the ego, in every frame of the context
NEAR_JUNCTION = 25.0  # m to the stop line; farther away no turn shows within a second
MIN_DIFFERENCE = 0.04  # share of the pixels with another label at the last lead


@dataclass(frozen=True)
class OpenPast:
    """
    A moment of the world of `seed` at which the ego's next turn is open.

    The context begins at `start` (s) and ends `context` s later. `states` holds the world at that
    end for each option, with nearly the same past; `odds` are the options' probabilities and
    `difference` the share of pixels whose label differs between two futures drawn by them.
    """

    seed: int
    start: float
    junction: int
    options: tuple[str, ...]
    odds: tuple[float, ...]
    beginning: State
    states: tuple[State, ...]
    difference: float


def ego_route(world: StreetWorld) -> Choice | None:
    """Return the ego's open choice of a turn near a junction, or None."""
    junction, distance = world.driving.next_junction(world.vehicles, EGO)
    if junction < 0 or distance > NEAR_JUNCTION:
        return None
    return next((choice for choice in world.choices(reach=0.5)
                 if choice.agent == EGO and choice.kind == 'route'), None)


def begin_branch(world: StreetWorld, beginning: State, option: str) -> None:
    """Go to the beginning of a context and let the ego take `option` at the next junction."""
    world.restore(beginning)
    # The same seed for every option: all other intents are the same within the context.
    world.branch(0, {(EGO, 'route'): option})


def continue_branch(
    world: StreetWorld, past: OpenPast, option: int, branch_seed: int,
) -> None:
    """Go to the end of a context and draw all hidden intents again but the ego's turn."""
    world.restore(past.states[option])
    world.branch(branch_seed)
    world.driving.set_route(
        world.vehicles, EGO, past.junction, ROUTES.index(past.options[option]))


def find_past(
    seed: int, context: float, horizon: float, renderer: Renderer,
) -> OpenPast | None:
    """
    Return the first open past of a world, or None.

    A past is taken if the ego's turn is open, the contexts of all its options are the same to
    within `SAME_PLACE` and `SAME_HEADING`, and the labels `horizon` s later differ in at least
    `MIN_DIFFERENCE` of the pixels. Context and horizon are in seconds.
    """
    world = StreetWorld(seed)
    if not world.layout.junctions:
        return None
    for start in np.arange(0.0, LAST_START, SEARCH_STEP).round(3).tolist():
        world.advance_to(start)
        choice = ego_route(world)
        if choice is None:
            continue
        beginning = world.snapshot()
        past = _examine(world, choice, start, context, horizon, renderer)
        if past is not None and past.difference >= MIN_DIFFERENCE:
            return past
        world.restore(beginning)
    return None


def _examine(
    world: StreetWorld, choice: Choice, start: float, context: float, horizon: float,
    renderer: Renderer,
) -> OpenPast | None:
    """Return the past that begins now with the difference of its futures, or None."""
    beginning = world.snapshot()
    junction, _ = world.driving.next_junction(world.vehicles, EGO)
    states: list[State] = []
    first = np.zeros(0)
    for option in choice.options:
        begin_branch(world, beginning, option)
        track = _track(world, context)
        if not states:
            first = track
        away = np.abs(track - first)
        if np.hypot(away[:, 0], away[:, 1]).max() > SAME_PLACE or away[:, 3].max() > SAME_HEADING:
            return None
        states.append(world.snapshot())
    past = OpenPast(world.seed, start, junction, choice.options, choice.odds, beginning,
                    tuple(states), 0.0)
    labels = []
    for number in range(len(choice.options)):
        continue_branch(world, past, number, 1)
        world.step(horizon)
        labels.append(renderer.render(world).labels)
    maps, odds = np.stack(labels), np.array(choice.odds)
    apart = (maps[:, None] != maps[None]).mean((2, 3))
    return OpenPast(world.seed, start, junction, choice.options, choice.odds, beginning,
                    tuple(states), float(odds @ apart @ odds))


def _track(world: StreetWorld, seconds: float) -> np.ndarray:
    """Advance by `seconds` and return the ego's poses (steps, 4) on the way."""
    poses = []
    for _ in range(round(seconds / SEARCH_STEP)):
        world.step(SEARCH_STEP)
        poses.append(world.vehicles.poses(world.routes)[EGO])
    return np.array(poses)
