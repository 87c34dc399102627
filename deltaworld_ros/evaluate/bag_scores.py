# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the evaluation keeps of one recording."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from deltaworld_ros.evaluate.drive import DriveReport
from deltaworld_ros.evaluate.moments import Moment
from deltaworld_ros.evaluate.scorebook import Clips


@dataclass
class BagScores:
    """
    All that is known of one recording; it can be sent to another process.

    `worst` holds moments by how much more of their pixels the forecast got wrong than copy-last,
    `records` the scores of each forecast.
    """

    report: DriveReport
    setup: dict[str, Any]
    clips: Clips = field(default_factory=Clips)
    scored: int = 0
    offsets: list[int] = field(default_factory=list)
    truth_kinds: dict[str, set[str]] = field(
        default_factory=lambda: {'labels': set(), 'depth': set()})
    moments: list[Moment] = field(default_factory=list)
    worst: list[tuple[float, Moment]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    # Wall time in seconds: all of it, in each graph, and in the scorers.
    profile: dict[str, float] = field(default_factory=dict)
    # Why nothing of it could be scored.
    error: str = ''
