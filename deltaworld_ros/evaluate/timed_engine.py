# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An engine that counts the time inside the graphs, for `deltaworld evaluate --profile`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.engine import Engine, Features
from deltaworld_ros.engine.wrapped_engine import WrappedEngine

Result = TypeVar('Result')


class TimedEngine(WrappedEngine):
    """Passes every call on; `seconds` holds the wall time by graph."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.several_threads = False   # the sums are not made for it
        self.seconds = {'observe': 0.0, 'rollout': 0.0, 'decode': 0.0}

    def observe(
            self, image: NDArray[np.uint8], previous: Features | None,
    ) -> tuple[Features, NDArray[np.float32], NDArray[np.float32]]:
        """See `Engine.observe`."""
        return self._timed('observe', lambda: self._engine.observe(image, previous))

    def rollout(
            self, tokens: NDArray[np.float32], rotary_cos: NDArray[np.float32],
            rotary_sin: NDArray[np.float32], noise: NDArray[np.float32],
            motion: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """See `Engine.rollout`."""
        return self._timed(
            'rollout',
            lambda: self._engine.rollout(tokens, rotary_cos, rotary_sin, noise, motion))

    def decode(
            self, features: Features, tokens: NDArray[np.float32], weights: NDArray[np.float32],
            outputs: Sequence[str], leads: Sequence[int] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """See `Engine.decode`."""
        return self._timed(
            'decode', lambda: self._engine.decode(features, tokens, weights, outputs, leads))

    def _timed(self, graph: str, run: Callable[[], Result]) -> Result:
        started = time.perf_counter()
        result = run()
        self.seconds[graph] += time.perf_counter() - started
        return result
