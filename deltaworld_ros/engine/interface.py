# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every engine offers; sizes are those of the bundle's manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle import Bundle

# The features (N, D) of one frame where the engine keeps them: opaque to everyone else.
Features = Any


class EngineUnavailable(Exception):
    """This machine or this bundle lacks what an engine needs; the message says what."""


@dataclass(frozen=True)
class LeadDecoding:
    """Outputs of the decode graph for one lead (0: the present) that have a graph of their own."""

    outputs: tuple[str, ...]
    lead: int


class OutOfDeviceMemory(EngineUnavailable):
    """The device has too little memory for this; fewer futures at once may fit."""


class Engine(Protocol):
    """
    The three graphs of a bundle on one device.

    `several_threads` says whether several threads may run them at once; else see `SharedEngine`.
    N patches, D numbers a patch, Dz numbers a token, T context tokens, S steps, M samples,
    K futures, W noise numbers, R rotary frequencies.
    """

    name: str
    several_threads: bool

    def observe(
            self, image: NDArray[np.uint8], previous: Features | None,
    ) -> tuple[Features, NDArray[np.float32], NDArray[np.float32]]:
        """
        Return the features of an RGB image (h, w, 3), its delta and its anchor token, each (Dz,).

        The delta token encodes the change from `previous`; without it, it means nothing.
        """
        ...

    def rollout(
            self, tokens: NDArray[np.float32], rotary_cos: NDArray[np.float32],
            rotary_sin: NDArray[np.float32], noise: NDArray[np.float32],
            motion: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """
        Return future tokens (M, S, Dz) of tokens (T, Dz), tables (T+S, R), noise (M, S, W).

        Bundles that take it may be told the robot's motion (T+S, 3), see `bundle.motion`.
        """
        ...

    def decode(
            self, features: Features, tokens: NDArray[np.float32], weights: NDArray[np.float32],
            outputs: Sequence[str], leads: Sequence[int] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """
        Decode futures (K, S, Dz) with weights (K,) from the newest features.

        Only `outputs` (names of the decode graph's outputs) are copied back, without batch axis.
        Of maps, only those of `leads` (0: the present) are sure to hold values; all by default.
        """
        ...

    def prepare_leads(self, bundle: Bundle) -> list[LeadDecoding]:
        """
        Prepare graphs of single leads from the bundle; return what they will decode.

        Everything else, and everything until this was called, is decoded by the whole graph: no
        graph is prepared later, so that a gate can judge all that will run.
        """
        ...

    def features_to_host(self, features: Features) -> NDArray[np.float32]:
        """Copy features to an array (N, D)."""
        ...

    def features_from_host(self, array: NDArray[np.float32]) -> Features:
        """Copy an array (N, D) to where this engine keeps features."""
        ...

    def close(self) -> None:
        """Free the device; the engine is not used again."""
        ...
