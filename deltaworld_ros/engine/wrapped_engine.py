# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An engine around another one, for those that change some of its calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.engine.interface import Engine, Features, LeadDecoding


class WrappedEngine:
    """Passes every call on."""

    def __init__(self, engine: Engine) -> None:
        self.name = engine.name
        self.several_threads = engine.several_threads
        self._engine = engine

    def observe(
            self, image: NDArray[np.uint8], previous: Features | None,
    ) -> tuple[Features, NDArray[np.float32], NDArray[np.float32]]:
        """See `Engine.observe`."""
        return self._engine.observe(image, previous)

    def rollout(
            self, tokens: NDArray[np.float32], rotary_cos: NDArray[np.float32],
            rotary_sin: NDArray[np.float32], noise: NDArray[np.float32],
            motion: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """See `Engine.rollout`."""
        return self._engine.rollout(tokens, rotary_cos, rotary_sin, noise, motion)

    def decode(
            self, features: Features, tokens: NDArray[np.float32], weights: NDArray[np.float32],
            outputs: Sequence[str], leads: Sequence[int] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """See `Engine.decode`."""
        return self._engine.decode(features, tokens, weights, outputs, leads)

    def prepare_leads(self, bundle: Bundle) -> list[LeadDecoding]:
        """See `Engine.prepare_leads`."""
        return self._engine.prepare_leads(bundle)

    def features_to_host(self, features: Features) -> NDArray[np.float32]:
        """See `Engine.features_to_host`."""
        return self._engine.features_to_host(features)

    def features_from_host(self, array: NDArray[np.float32]) -> Features:
        """See `Engine.features_from_host`."""
        return self._engine.features_from_host(array)

    def close(self) -> None:
        """See `Engine.close`."""
        self._engine.close()
