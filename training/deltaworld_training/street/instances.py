# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Instance rows: where, how large and in which colour the meshes of `meshes.py` are drawn.

A row (14 float32) is position (3), yaw, scale (3), colour (3, linear) and four parameters, of
which the first is the class id; the shaders say what the others mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

VEGETATION, BUILDING, VEHICLE, PEDESTRIAN, POLE = 4, 5, 7, 8, 9  # class ids
Numbers = Sequence[float] | np.ndarray

PAINTS = np.array([
    (.70, .70, .70), (.55, .56, .58), (.30, .31, .33), (.10, .10, .11), (.03, .03, .035),
    (.35, .03, .03), (.05, .09, .25), (.10, .18, .35), (.05, .12, .07), (.40, .33, .22),
    (.55, .10, .03), (.60, .45, .08)])
PAINT_ODDS = np.array([.24, .15, .13, .10, .14, .07, .06, .04, .02, .03, .01, .01])


def instance(position: Numbers, yaw: float, scale: Numbers, color: Numbers,
             param: Numbers) -> np.ndarray:
    """Return one instance row."""
    return np.concatenate([position, [yaw], scale, color, param]).astype('f4')


def instances(poses: np.ndarray, scales: np.ndarray, colors: np.ndarray,
              params: np.ndarray) -> np.ndarray:
    """Return instance rows (n, 14) from x, y, z, yaw (n, 4) and the other columns."""
    return np.concatenate([poses, scales, colors, params], 1).astype('f4')


def shadow_instances(poses: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the dark contact patches and the sun's shadows (2 n, 14) of things that stand.

    Args: x, y, z, yaw (n, 4); length, width, height (n, 3) in metres.
    """
    count = len(poses)
    black = np.zeros((count, 3))
    patch = np.stack([sizes[:, 0] * 1.12, sizes[:, 1] * 1.3, np.ones(count)], 1)
    cast = sizes * np.array([.94, .95, .9])
    return np.concatenate([
        instances(poses, patch, black, np.tile((0.0, 1.0, 0.0, 0.0), (count, 1))),
        instances(poses, cast, black, np.tile((0.0, 0.0, 0.1, 0.0), (count, 1)))])


def vary_paint(rng: np.random.Generator) -> np.ndarray:
    """Draw a car's colour."""
    color = PAINTS[rng.choice(len(PAINTS), p=PAINT_ODDS)]
    return np.asarray(color * rng.uniform(0.75, 1.2) * rng.uniform(0.95, 1.05, 3))
