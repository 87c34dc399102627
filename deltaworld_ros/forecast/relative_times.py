# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Times of a context and its leads, re-based so that epoch stamps lose no precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def relative_times(stamps_ns: Sequence[int], leads: Sequence[float]) -> NDArray[np.float64]:
    """
    Return times (T+S,) in seconds relative to the newest stamp: the stamps', then the leads.

    `stamps_ns` are integer nanoseconds, oldest first: float32 epoch seconds would be wrong by
    minutes, float64 ones by a fraction of a microsecond.
    """
    newest = stamps_ns[-1]
    return np.array([(stamp - newest) * 1e-9 for stamp in stamps_ns] + list(leads), np.float64)
