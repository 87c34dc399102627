# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The robot's motion as the rollout graph of some bundles takes it: an array (T + S, 3).

A row belongs to a frame of the context or to a lead. It holds the mean speed forward (m/s) and
yaw rate (rad/s, to the left) over the step that ends there, and 1; or three zeros where these are
not known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle.manifest import Manifest

VALUES = 3


def motion_input(
        manifest: Manifest, motion: NDArray[np.float32] | None) -> dict[str, NDArray[np.float32]]:
    """
    Return the input `motion` of a bundle's rollout graph by name, with its batch axis, or nothing.

    Without a motion nothing is known. Raise `ValueError` where the bundle takes none.
    """
    if not manifest.motion:
        if motion is not None:
            raise ValueError(f'bundle {manifest.name!r}: its predictor takes no motion')
        return {}
    if motion is None:
        motion = np.zeros((manifest.context_length + manifest.steps, VALUES), np.float32)
    return {'motion': np.ascontiguousarray(motion, np.float32)[None]}


def known_motion(motion: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return rows (..., 3) of speeds and yaw rates (..., 2), which are not finite if unknown."""
    known = np.isfinite(motion).all(-1, keepdims=True)
    return np.concatenate([np.where(known, motion, 0.0), known], -1).astype(np.float32)
