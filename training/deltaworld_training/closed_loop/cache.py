# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Work that is done once for all kinds of information, as long as their episodes are the same.

Every kind sees the same until the governor first decides, and many drive alike for longer. What
is asked again with the same inputs has the same answer, so that nothing in the results changes.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.engine import Engine, Features, LeadDecoding
from deltaworld_training.street.renderer import Frame, Renderer
from deltaworld_training.street.world import StreetWorld


class CachedFrames:
    """A renderer that draws each state of one world once."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._frames: dict[bytes, Frame] = {}

    def render(self, world: StreetWorld) -> Frame:
        """See `Renderer.render`."""
        key = _digest(pickle.dumps(world.snapshot()))
        if key not in self._frames:
            self._frames[key] = self._renderer.render(world)
        return self._frames[key]


class CachedEngine:
    """
    An engine that computes the same inputs once; for one world, since it forgets nothing.

    Features are the same where they are the same object: what `observe` returned for them.
    """

    def __init__(self, engine: Engine) -> None:
        self.name = engine.name
        self.several_threads = False
        self._engine = engine
        self._known: dict[tuple[Any, ...], Any] = {}
        self._kept: list[Features] = []   # or another object might get the same id

    def observe(
            self, image: NDArray[np.uint8], previous: Features | None,
    ) -> tuple[Features, NDArray[np.float32], NDArray[np.float32]]:
        """See `Engine.observe`."""
        key = ('observe', _digest(image), id(previous))
        if key not in self._known:
            self._known[key] = self._engine.observe(image, previous)
            self._kept.append(self._known[key][0])
        features, delta, anchor = self._known[key]
        return features, delta, anchor

    def rollout(
            self, tokens: NDArray[np.float32], rotary_cos: NDArray[np.float32],
            rotary_sin: NDArray[np.float32], noise: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """See `Engine.rollout`."""
        key = ('rollout', *map(_digest, (tokens, rotary_cos, rotary_sin, noise)))
        if key not in self._known:
            self._known[key] = self._engine.rollout(tokens, rotary_cos, rotary_sin, noise)
        future: NDArray[np.float32] = self._known[key]
        return future

    def decode(
            self, features: Features, tokens: NDArray[np.float32], weights: NDArray[np.float32],
            outputs: Sequence[str], leads: Sequence[int] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """See `Engine.decode`."""
        key = ('decode', id(features), _digest(tokens), _digest(weights), tuple(outputs),
               None if leads is None else tuple(leads))
        if key not in self._known:
            self._known[key] = self._engine.decode(features, tokens, weights, outputs, leads)
        return dict(self._known[key])

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


def _digest(data: Any) -> bytes:
    return hashlib.blake2b(data.tobytes() if isinstance(data, np.ndarray) else data).digest()
