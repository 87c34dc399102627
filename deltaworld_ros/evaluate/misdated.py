# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Leave misdated images out of a recording before they are observed, which only a file allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from deltaworld_ros.bags.frames import Frame
from deltaworld_ros.forecast.frame_gate import FrameGate

_MAX_GAP = 1.0   # s, as in `Forecaster`
# Images that wait until it is clear whether the first of them was misdated.
_PATIENCE = 8


def without_misdated(frames: Iterable[Frame], leave_out: Callable[[], None]) -> Iterator[Frame]:
    """
    Yield frames in order but those after which the stamps go on as before them; `leave_out` is
    called for each of these.

    The live node sees only with the next image that one was from the future; what it makes of
    that one cannot be scored.
    """
    gate = FrameGate(_MAX_GAP)
    waiting: list[Frame] = []   # the last one that was taken, and odd ones after it
    for frame in frames:
        verdict = gate.check(frame.stamp, (frame.image.shape, frame.frame_id))
        if not verdict.odd or len(waiting) >= _PATIENCE:
            if verdict.resumed and waiting:
                waiting.pop(0)
                leave_out()
            yield from waiting
            waiting = []
        waiting.append(frame)
    yield from waiting
