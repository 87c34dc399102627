# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One moment of a drive for the report: what was seen, what was forecast and what really came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Moment:
    """
    Pictures (h,w,3) and maps (a,b) of one forecast at one lead.

    `seconds` is the time since the start of the recording and `lead` how far ahead the forecast
    looks, both in seconds. Futures come first in `labels` (K,a,b), by descending weight.
    """

    seconds: float
    lead: float
    image: np.ndarray
    future_image: np.ndarray
    present_labels: np.ndarray
    present_depth: np.ndarray
    fused_labels: np.ndarray
    fused_depth: np.ndarray
    confidence: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    true_labels: np.ndarray
    true_depth: np.ndarray


def save_moments(path: Path, moments: Sequence[Moment]) -> None:
    """Write moments to an .npz file."""
    arrays = {f'{index:04d}.{field.name}': np.asarray(getattr(moment, field.name))
              for index, moment in enumerate(moments) for field in fields(Moment)}
    np.savez(path, **arrays)


def load_moments(path: Path) -> list[Moment]:
    """Read what `save_moments` wrote."""
    with np.load(path, allow_pickle=False) as archive:
        groups: dict[str, dict[str, np.ndarray]] = {}
        for key in archive.files:
            number, _, name = key.partition('.')
            groups.setdefault(number, {})[name] = archive[key]
    for values in groups.values():
        values.update(seconds=float(values['seconds']), lead=float(values['lead']))
    return [Moment(**groups[number]) for number in sorted(groups)]
