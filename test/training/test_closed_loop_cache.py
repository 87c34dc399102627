# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What episodes of one world share is computed once, and nothing else is taken for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.bundle.lead_outputs import FUSED_MAPS, FUTURE_MAPS
from deltaworld_ros.engine import load_engine
from deltaworld_ros.forecast.forecaster import Forecaster
from deltaworld_training.closed_loop.cache import CachedEngine, CachedFrames
from deltaworld_training.closed_loop.ego import drive
from deltaworld_training.street.world import StreetWorld


class Counted:
    """Counts the calls of what is behind it."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._real, name)
        if name not in ('observe', 'rollout', 'decode', 'render'):
            return value

        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            return value(*arguments)
        return call


class Painter:
    """Draws nothing but the time."""

    def render(self, world: StreetWorld) -> Any:
        return (world.time, world.vehicles.s.copy())


def test_each_state_of_a_world_is_drawn_once() -> None:
    world, painter = StreetWorld(60_002), Counted(Painter())
    frames = CachedFrames(painter)   # type: ignore[arg-type]
    beginning = world.snapshot()
    first = frames.render(world)
    drive(world, 8.0, 2)
    second = frames.render(world)
    assert second is not first and len(painter.calls) == 2
    world.restore(beginning)
    assert frames.render(world) is first
    drive(world, 8.0, 2)
    assert frames.render(world) is second and len(painter.calls) == 2
    # Another speed is another state.
    world.restore(beginning)
    drive(world, 2.0, 2)
    assert frames.render(world) is not second and len(painter.calls) == 3


def test_a_second_camera_with_the_same_frames_costs_nothing(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    m, real = bundle.manifest, Counted(load_engine(bundle))
    rng = np.random.default_rng(0)
    shape = (m.image_height, m.image_width, 3)
    images = [rng.integers(0, 255, shape, np.uint8) for _ in range(8)]
    cached = CachedEngine(real)

    def film(engine: Any, frames: list[np.ndarray], futures: bool) -> Any:
        forecaster = Forecaster(engine, m)
        for number, image in enumerate(frames):
            forecaster.observe(image, round(number * m.stride * 1e9))
        return forecaster.forecast(futures=futures)

    film(cached, images, True)
    real.calls.clear()
    again = film(cached, images, True)
    assert real.calls == []
    alone = film(load_engine(bundle), images, True)
    for name in (*FUSED_MAPS, *FUTURE_MAPS):
        np.testing.assert_array_equal(getattr(again, name), getattr(alone, name))
    # Without each future's maps only the decoder runs again; after another frame all of it.
    film(cached, images, False)
    assert real.calls == ['decode']
    real.calls.clear()
    film(cached, [*images[:-1], images[0]], True)
    assert real.calls == ['observe', 'rollout', 'decode']
