# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Refuse what an engine computed where it holds values that are not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class NotFiniteError(RuntimeError):
    """An engine gave NaN or infinity: the frame cannot be used."""


def check_finite(name: str, values: NDArray[Any]) -> None:
    """Raise `NotFiniteError` that names `values` where one of them is NaN or infinite."""
    # The sum is several times faster than looking at each value, and finite only if all are.
    with np.errstate(over='ignore', invalid='ignore'):
        if np.isfinite(values.sum(dtype=np.float64)):
            return
    wrong = int(np.count_nonzero(~np.isfinite(values)))
    if wrong:
        raise NotFiniteError(
            f'the engine computed {name} with {wrong} of {values.size} values that are not finite')
