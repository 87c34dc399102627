# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Clips of the street world at arbitrary times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deltaworld_ros.planning.step_motion import step_motion
from deltaworld_training.street.renderer import Frame, Renderer
from deltaworld_training.street.world import LATER, StreetWorld


def render_clip(seed: int, times: Sequence[float], width: int, height: int,
                renderer: Renderer | None = None) -> list[Frame]:
    """Render a world at increasing times (s, from 0); without a renderer one is made."""
    renderer = renderer or Renderer(width, height)
    if (renderer.width, renderer.height) != (width, height):
        raise ValueError(f'the renderer makes {renderer.width}x{renderer.height} images, '
                         f'not {width}x{height}')
    return render_times(StreetWorld(seed), times, renderer)


def ego_motion(places: Sequence[np.ndarray], times: np.ndarray) -> np.ndarray:
    """
    Return the speed (m/s) and yaw rate (rad/s) of each frame (F, 2), over the step to it.

    `places` are those of `StreetWorld.ego_places` at the frames' times (F,) in s. The first frame
    ends no step: its motion is that between its two places.
    """
    first = step_motion(places[0], [0.0, LATER])
    steps = step_motion([place[0] for place in places], times)
    return np.concatenate([first, steps]).astype(np.float32)


def render_times(world: StreetWorld, times: Sequence[float], renderer: Renderer) -> list[Frame]:
    """Render a world from its present state at increasing times (s)."""
    return [renderer.render(world, world.advance_to(time)) for time in times]


class ClipRenderer:
    """Renders clips of one image size; every process opens a renderer of its own."""

    def __init__(self, size: tuple[int, int]):
        """Take the image size (w, h)."""
        self._size = size
        self._renderer: Renderer | None = None

    def __getstate__(self) -> dict:
        """Leave the renderer behind: a GL context belongs to one process."""
        return {**self.__dict__, '_renderer': None}

    def render(self, world: StreetWorld, times: Sequence[float]) -> list[Frame]:
        """Render a world from its present state at increasing times (s)."""
        if self._renderer is None:
            self._renderer = Renderer(*self._size)
        return render_times(world, times, self._renderer)
