# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One engine for several threads gives each what it alone would get, in turn or at once."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.engine import load_engine
from deltaworld_ros.engine.shared_engine import SharedEngine, _Turn
from deltaworld_ros.forecast.forecaster import Forecaster


@pytest.mark.parametrize('in_turn', [True, False])
def test_cameras_do_not_disturb_each_other(tiny_bundle: Path, in_turn: bool) -> None:
    bundle = load_bundle(tiny_bundle)
    engine = load_engine(bundle, 'onnxruntime-cpu', 2)
    assert engine.several_threads
    shape = (bundle.manifest.image_height, bundle.manifest.image_width, 3)
    found: dict[tuple[bool, int], list[np.ndarray]] = {}

    def film(number: int, used: object, shared: bool) -> None:
        forecaster = Forecaster(used, bundle.manifest)   # type: ignore[arg-type]
        rng = np.random.default_rng(number)
        for step in range(12):
            forecaster.observe(rng.integers(0, 255, shape, np.uint8), step * 200_000_000)
            if forecaster.ready:
                found.setdefault((shared, number), []).append(forecaster.forecast().fused_depth)

    shared = SharedEngine(engine) if in_turn else engine
    threads = [threading.Thread(target=film, args=(number, shared, True)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(3):
        film(number, engine, False)
        np.testing.assert_array_equal(found[True, number], found[False, number])
    shared.close()


def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    turn, order = _Turn(), []
    asked = [threading.Event() for _ in range(4)]

    def wait_for(number: int) -> None:
        asked[number].set()
        with turn:
            order.append(number)

    threads = [threading.Thread(target=wait_for, args=(number,)) for number in range(4)]
    with turn:
        for number, thread in enumerate(threads):
            thread.start()
            asked[number].wait(5)
            while turn._asked < number + 2:   # it asks right after it says so
                pass
    for thread in threads:
        thread.join(5)
    assert order == [0, 1, 2, 3]
