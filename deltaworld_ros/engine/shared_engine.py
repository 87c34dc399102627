# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One engine for several threads, each in its turn."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.engine.interface import Engine, Features, LeadDecoding


class SharedEngine:
    """
    An engine whose graphs several threads run, one at a time and first come, first served.

    A plain lock would let one busy camera keep the others out.
    """

    def __init__(self, engine: Engine) -> None:
        self.name = engine.name
        self.several_threads = True
        self._engine = engine
        self._turn = _Turn()

    def observe(
            self, image: NDArray[np.uint8], previous: Features | None,
    ) -> tuple[Features, NDArray[np.float32], NDArray[np.float32]]:
        """See `Engine.observe`."""
        with self._turn:
            return self._engine.observe(image, previous)

    def rollout(
            self, tokens: NDArray[np.float32], rotary_cos: NDArray[np.float32],
            rotary_sin: NDArray[np.float32], noise: NDArray[np.float32],
            motion: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """See `Engine.rollout`."""
        with self._turn:
            return self._engine.rollout(tokens, rotary_cos, rotary_sin, noise, motion)

    def decode(
            self, features: Features, tokens: NDArray[np.float32], weights: NDArray[np.float32],
            outputs: Sequence[str], leads: Sequence[int] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """See `Engine.decode`."""
        with self._turn:
            return self._engine.decode(features, tokens, weights, outputs, leads)

    def prepare_leads(self, bundle: Bundle) -> list[LeadDecoding]:
        """See `Engine.prepare_leads`."""
        with self._turn:
            return self._engine.prepare_leads(bundle)

    def features_to_host(self, features: Features) -> NDArray[np.float32]:
        """See `Engine.features_to_host`."""
        with self._turn:
            return self._engine.features_to_host(features)

    def features_from_host(self, array: NDArray[np.float32]) -> Features:
        """See `Engine.features_from_host`."""
        with self._turn:
            return self._engine.features_from_host(array)

    def close(self) -> None:
        """See `Engine.close`."""
        self._engine.close()


class _Turn:
    """A lock that is taken in the order in which it was asked for."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._asked = self._served = 0

    def __enter__(self) -> None:
        with self._condition:
            mine, self._asked = self._asked, self._asked + 1
            self._condition.wait_for(lambda: self._served == mine)

    def __exit__(self, *error: object) -> None:
        with self._condition:
            self._served += 1
            self._condition.notify_all()
