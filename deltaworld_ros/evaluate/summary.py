# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pieces that every result has: percentiles, and values that JSON can carry."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def percentiles(values: list[float]) -> dict[str, float]:
    """Return the median and the 95th percentile, NaN without values."""
    if not values:
        return {'p50': math.nan, 'p95': math.nan}
    middle, high = np.percentile(values, [50, 95])
    return {'p50': float(middle), 'p95': float(high)}


def strict_json(value: Any) -> Any:
    """Return the value with NaN and infinities as None, which JSON can carry."""
    if isinstance(value, dict):
        return {key: strict_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [strict_json(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
