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
    """All that is known of one recording; it can be sent to another process."""

    report: DriveReport
    setup: dict[str, Any]
    clips: Clips = field(default_factory=Clips)
    scored: int = 0
    offsets: list[int] = field(default_factory=list)
    truth_kinds: dict[str, set[str]] = field(
        default_factory=lambda: {'labels': set(), 'depth': set()})
    moments: list[Moment] = field(default_factory=list)
