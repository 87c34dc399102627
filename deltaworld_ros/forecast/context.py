# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The rolling context: a chain of deltas between frames about one stride apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.forecast.frame_gate import Restart

# No camera needs more; it bounds memory when stamps advance without time passing.
MAX_FEATURES = 64


@dataclass
class Link:
    """
    One frame of the chain.

    `features` are None once they can no longer be a predecessor's; without a predecessor the
    delta token means nothing.
    """

    stamp_ns: int
    features: Any
    anchor_token: NDArray[np.float32]
    delta_token: NDArray[np.float32]
    predecessor_ns: int | None


class ContextChain:
    """
    Links of recent frames, each joined to the earlier one whose age is nearest to the stride.

    The stride is in seconds, stamps are integer nanoseconds that only increase (`FrameGate` sees
    to that). A predecessor is between 0.5 and 1.5 strides older, so that any camera rate from
    2 / (3 stride) upwards makes chains.
    """

    def __init__(self, stride: float, context_length: int) -> None:
        self.context_length = context_length
        self._stride_ns = round(stride * 1e9)
        self._nearest_ns = self._stride_ns // 2
        self._farthest_ns = self._stride_ns * 3 // 2
        self._links: dict[int, Link] = {}  # by stamp, oldest first
        self._aside: dict[int, Link] = {}  # what they were before the newest one

    @property
    def newest(self) -> Link | None:
        """Return the link of the newest frame, or None."""
        return next(reversed(self._links.values()), None)

    def needed(self, waiting_ns: Sequence[int]) -> list[int]:
        """
        Return those of the waiting stamps to observe so that the last one gets a whole chain.

        They are in order and end with the last one. A link that exists already is preferred to a
        waiting frame, which would have to be observed first.
        """
        chosen = [waiting_ns[-1]]
        while len(chosen) < self.context_length and self.predecessor(chosen[0]) is None:
            candidates = [stamp for stamp in waiting_ns if self._joins(chosen[0] - stamp)]
            if not candidates:
                break
            chosen.insert(0, min(
                candidates, key=lambda stamp: abs(chosen[0] - stamp - self._stride_ns)))
        return chosen

    def predecessor(self, stamp_ns: int) -> Link | None:
        """Return the earlier link whose age is nearest to the stride within 50 %, or None."""
        candidates = [
            link for link in self._links.values() if link.features is not None
            and self._joins(stamp_ns - link.stamp_ns)]
        # The newer of two that are equally near: its features are the better guess.
        return min(reversed(candidates), default=None,
                   key=lambda link: abs(stamp_ns - link.stamp_ns - self._stride_ns))

    def append(self, stamp_ns: int, features: Any, anchor_token: NDArray[np.float32],
               delta_token: NDArray[np.float32], predecessor: Link | None) -> None:
        """Add the newest frame and forget what no later frame can use."""
        if self._links:
            self._aside = {stamp: replace(link) for stamp, link in self._links.items()}
        self._links[stamp_ns] = Link(
            stamp_ns, features, anchor_token, delta_token,
            None if predecessor is None else predecessor.stamp_ns)
        # The next frame is newer still, so the limits of this one are safe for it.
        oldest_of_chain = stamp_ns - (self.context_length - 1) * self._farthest_ns
        holding = [link for link in self._links.values() if link.features is not None]
        for place, link in enumerate(reversed(holding)):
            if stamp_ns - link.stamp_ns > self._farthest_ns or place >= MAX_FEATURES:
                link.features = None
        excess = len(self._links) - MAX_FEATURES * self.context_length
        for place, stamp in enumerate(list(self._links)):
            if stamp < oldest_of_chain or place < excess:
                del self._links[stamp]

    def context(self) -> list[Link]:
        """Return the newest frame's chain of at most `context_length` links, the oldest first."""
        chain: list[Link] = []
        link = self.newest
        while link is not None and len(chain) < self.context_length:
            chain.append(link)
            link = None if link.predecessor_ns is None else self._links.get(link.predecessor_ns)
        return chain[::-1]

    def begin(self, restart: Restart | None) -> None:
        """Begin a new chain; one that a gap ends can be resumed after the next frame."""
        self._aside = self._links if restart is Restart.GAP else {}
        self._links = {}

    def resume(self) -> None:
        """Go on with the chain before the newest frame."""
        self._links, self._aside = self._aside, {}

    def _joins(self, age_ns: int) -> bool:
        """Return whether a frame of this age can be a predecessor."""
        return self._nearest_ns <= age_ns <= self._farthest_ns
