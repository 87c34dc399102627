# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The rolling context: a chain of deltas between frames about one stride apart (design, 4)."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# No camera needs more; it bounds memory when stamps advance without time passing.
MOST_FEATURES = 64


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

    Stride and `max_gap` are in seconds, stamps in integer nanoseconds. A predecessor is between
    0.5 and 1.5 strides older, so that any camera rate from 2 / (3 stride) upwards makes chains.
    """

    def __init__(self, stride: float, context_length: int, max_gap: float) -> None:
        self.context_length = context_length
        self._stride_ns = round(stride * 1e9)
        self._nearest_ns = self._stride_ns // 2
        self._farthest_ns = self._stride_ns * 3 // 2
        self._max_gap_ns = round(max_gap * 1e9)
        self._links: dict[int, Link] = {}  # by stamp, oldest first
        self._source: Hashable = None
        self._pending_reason: str | None = None

    @property
    def newest(self) -> Link | None:
        """Give the link of the newest frame, or None."""
        return next(reversed(self._links.values()), None)

    def begin_frame(self, stamp_ns: int, source: Hashable) -> str | None:
        """Drop the context where this frame does not continue it, and give the reason."""
        newest = self.newest
        reason = self._pending_reason
        if newest is not None:
            ahead = stamp_ns - newest.stamp_ns
            if ahead == 0:
                reason = 'the stamp did not advance'
            elif ahead < 0:
                reason = f'the stamp went back by {-ahead * 1e-9:.3f} s'
            elif ahead > self._max_gap_ns:
                reason = (f'a gap of {ahead * 1e-9:.3f} s '
                          f'(more than {self._max_gap_ns * 1e-9:g} s)')
            elif source != self._source:
                reason = f'the image source changed from {self._source} to {source}'
        if reason is not None:
            self._links.clear()
        self._source = source
        self._pending_reason = None
        return reason

    def predecessor(self, stamp_ns: int) -> Link | None:
        """Give the earlier link whose age is nearest to the stride within 50 %, or None."""
        candidates = [
            link for link in self._links.values() if link.features is not None
            and self._nearest_ns <= stamp_ns - link.stamp_ns <= self._farthest_ns]
        # The newer of two that are equally near: its features are the better guess.
        return min(reversed(candidates), default=None,
                   key=lambda link: abs(stamp_ns - link.stamp_ns - self._stride_ns))

    def append(self, stamp_ns: int, features: Any, anchor_token: NDArray[np.float32],
               delta_token: NDArray[np.float32], predecessor: Link | None) -> None:
        """Add the newest frame and forget what no later frame can use."""
        self._links[stamp_ns] = Link(
            stamp_ns, features, anchor_token, delta_token,
            None if predecessor is None else predecessor.stamp_ns)
        # The next frame is newer still, so the limits of this one are safe for it.
        oldest_of_chain = stamp_ns - (self.context_length - 1) * self._farthest_ns
        holding = [link for link in self._links.values() if link.features is not None]
        for place, link in enumerate(reversed(holding)):
            if stamp_ns - link.stamp_ns > self._farthest_ns or place >= MOST_FEATURES:
                link.features = None
        excess = len(self._links) - MOST_FEATURES * self.context_length
        for place, stamp in enumerate(list(self._links)):
            if stamp < oldest_of_chain or place < excess:
                del self._links[stamp]

    def context(self) -> list[Link]:
        """Give the newest frame's chain, oldest link first, of at most `context_length` links."""
        chain: list[Link] = []
        link = self.newest
        while link is not None and len(chain) < self.context_length:
            chain.append(link)
            link = None if link.predecessor_ns is None else self._links.get(link.predecessor_ns)
        return chain[::-1]

    def reset(self, reason: str) -> None:
        """Forget every frame; the next frame reports the reason."""
        self._links.clear()
        self._pending_reason = reason
