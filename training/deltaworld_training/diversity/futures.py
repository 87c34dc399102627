# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Render a past of the street world and its true futures with their probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deltaworld_training.data.photometric import Look, apply_look, sample_look
from deltaworld_training.diversity.pasts import (
    OpenPast,
    begin_branch,
    continue_branch,
    find_past,
)
from deltaworld_training.street.clip import render_times
from deltaworld_training.street.renderer import Frame, Renderer
from deltaworld_training.street.world import StreetWorld

CONTEXT = 4  # frames
STEPS = 3  # leads
STRIDE = 0.2  # s
# Continuations of each turn: they differ in what all other hidden intents do, and in the road's
# bumps.
CONTINUATIONS = 4


@dataclass(frozen=True)
class TrueFutures:
    """
    A past and the set of its true futures, seen by one camera with one look.

    Context (T, h, w, 3) and futures (F, S, h, w, 3) uint8 RGB, both `STRIDE` seconds apart; the
    probability (F,) of each future (sum 1) and its branch (F,), an index into `options`, the
    ego's turns. `taken` is the option that was drawn for the context.
    """

    seed: int
    start: float
    context: np.ndarray
    futures: np.ndarray
    probabilities: np.ndarray
    branches: np.ndarray
    options: tuple[str, ...]
    taken: int

    @property
    def context_times(self) -> np.ndarray:
        """Return the times (T,) of the context in seconds; the last is 0."""
        return STRIDE * np.arange(1 - len(self.context), 1)


def true_futures(seed: int, renderer: Renderer) -> TrueFutures | None:
    """
    Return the first open past of a test world with its true futures, None where it has none.

    Every option of the ego is continued `CONTINUATIONS` times with all other hidden intents
    drawn again; a future's probability is its option's, shared alike among its continuations.
    """
    past = find_past(seed, STRIDE * (CONTEXT - 1), STRIDE * STEPS, renderer)
    if past is None:
        return None
    generator = np.random.default_rng((seed, 3))
    world, look = StreetWorld(seed), sample_look(generator)
    odds = np.array(past.odds)
    # Drawn by the odds, so that what little the context may tell of the turn is true on average.
    taken = int(generator.choice(len(odds), p=odds))
    context = _context(world, past, taken, renderer)
    futures, branches = [], []
    for option in range(len(odds)):
        for number in range(CONTINUATIONS):
            continue_branch(world, past, option, 100 * option + number)
            times = world.time + STRIDE * np.arange(1, STEPS + 1)
            futures.append(render_times(world, times.tolist(), renderer))
            branches.append(option)
    return TrueFutures(
        seed=seed, start=past.start, context=_seen(context, look, generator),
        futures=np.stack([_seen(frames, look, generator) for frames in futures]),
        probabilities=odds[branches] / CONTINUATIONS, branches=np.array(branches),
        options=past.options, taken=taken)


def _context(world: StreetWorld, past: OpenPast, option: int, renderer: Renderer) -> list[Frame]:
    begin_branch(world, past.beginning, past.options[option])
    times = past.beginning.time + STRIDE * np.arange(CONTEXT)
    return render_times(world, times.tolist(), renderer)


def _seen(frames: list[Frame], look: Look, generator: np.random.Generator) -> np.ndarray:
    return np.stack([apply_look(frame.rgb, look, generator) for frame in frames])
