# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tables of the predictor's time rotation, which the rollout graph takes as inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def time_tables(
        times: ArrayLike, frequencies: Sequence[float],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    Return cosine and sine of 2 pi time frequency, each (len(times), len(frequencies)) float32.

    `times` are in seconds relative to the newest frame and `frequencies` in cycles per second.
    Epoch seconds must be re-based first: their angles exceed what even float64 resolves well.
    """
    angles = 2 * np.pi * np.multiply.outer(
        np.asarray(times, np.float64), np.asarray(frequencies, np.float64))
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
