# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The self-score of one camera: which frames it needs, and what it makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle import Manifest
from deltaworld_ros.forecast.forecaster import Forecast
from deltaworld_ros.forecast.self_score import LeadScore, Maps, SelfScore


@dataclass(frozen=True)
class Part:
    """What the score needs of a frame: its maps to compare with, its whole forecast to keep."""

    present: bool = False
    ahead: bool = False


class FrameScore:
    """Scores forecasts while somebody listens or `watched` is set, which any thread may do."""

    def __init__(self, manifest: Manifest) -> None:
        self.watched = False
        self._score = SelfScore(manifest)

    def begin(self, stamp_ns: int, ready: bool, subscribed: bool) -> Part:
        """Return what to compute for the score of a frame with (`ready`) or without context."""
        if not (subscribed or self.watched):
            self._score.forget()
            return Part()
        self._score.advance(stamp_ns)
        return Part(present=self._score.awaited, ahead=ready and self._score.due)

    def finish(self, part: Part, forecast: Forecast, features: NDArray[np.float32],
               ) -> dict[float, LeadScore] | None:
        """
        Compare and keep what `begin` asked for; return the scores where there are new ones.

        `features` (N, D) are the frame's own.
        """
        present = Maps(features, forecast.fused_labels[0], forecast.fused_depth[0])
        if part.present:
            self._score.compare(present)
        if part.ahead:
            assert forecast.fused_features is not None
            self._score.keep(present, [Maps(*maps) for maps in zip(
                forecast.fused_features, forecast.fused_labels[1:], forecast.fused_depth[1:],
                strict=True)])
        return self._score.scores() if part.present else None

    def forget(self) -> None:
        """Discard what waits for its future: the context begins anew."""
        self._score.forget()
