# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The land beside the main road: ditches, banks and green medians."""

from __future__ import annotations

import numpy as np

from deltaworld_training.street.layout import Road
from deltaworld_training.street.surfaces import Surface, ribbon, sideways

# Distances from the asphalt (or the sidewalk) at which the height is known, m.
_OUT = np.array([-0.3, 1.5, 6.0, 18.0, 45.0, 100.0])
_DITCH = np.array([0.0, -0.1, -0.35, 0.0, 0.0, 0.0])
_BANK = np.array([0.0, 0.0, 0.0, 0.4, 0.85, 1.3])


class Land:
    """Heights of the land relative to the road."""

    def __init__(self, road: Road, rng: np.random.Generator, flat: bool) -> None:
        self.road, self.flat = road, flat
        self.s = np.arange(0.0, road.length + 0.1, 8.0)
        self._heights = [self._side(rng), self._side(rng)]  # left, right
        section = road.section
        self._edges = [section.left_edge + section.sidewalk,
                       section.right_edge + section.sidewalk]

    def _side(self, rng: np.random.Generator) -> np.ndarray:
        if self.flat:
            return np.full((len(self.s), len(_OUT)), -0.10)
        swell = rng.uniform(-2.0, 6.5) + rng.uniform(0, 4) * np.sin(
            self.s / rng.uniform(25, 90) + rng.uniform(0, 6))
        return np.asarray(_DITCH + _BANK * swell[:, None] - 0.05)

    def height(self, s: float, t: float) -> float:
        """Return the land's height (m) above the road at s, for t outside the pavement."""
        side = 0 if t > 0 else 1
        row = min(int(round(s / 8.0)), len(self.s) - 1)
        return float(np.interp(abs(t) - self._edges[side], _OUT, self._heights[side][row]))

    def surface(self) -> Surface:
        """Return the mesh of both sides and of a wide median."""
        section, rows, count = self.road.section, len(self.s), len(_OUT)
        t = np.concatenate([self._edges[0] + _OUT, -self._edges[1] - _OUT])
        t = np.broadcast_to(t, (rows, 2 * count))
        z = np.concatenate(self._heights, 1)
        away = np.broadcast_to(np.concatenate([_OUT, _OUT]), t.shape)
        strips = [(i, i + 1) for i in range(2 * count - 1) if i != count - 1]
        if section.median > 2.6:
            inner = section.median - 1.1
            t = np.concatenate([t, np.broadcast_to([-inner, 0.0, inner], (rows, 3))], 1)
            z = np.concatenate([z, np.broadcast_to([0.02, 0.10, 0.02], (rows, 3))], 1)
            away = np.concatenate([away, np.broadcast_to([0.0, inner, 0.0], (rows, 3))], 1)
            strips += [(2 * count, 2 * count + 1), (2 * count + 1, 2 * count + 2)]
        points = self.road.at(self.s[:, None], t)
        points[..., 2] += z
        width = np.gradient(t, axis=1)
        slope = np.gradient(z, axis=1) / np.where(np.abs(width) < 0.1, 1.0, width)
        normals = sideways(self.road, self.s, 1.0, t.shape[1])
        normals = normals * np.clip(-slope, -0.5, 0.5)[..., None]
        normals[..., 2] = 1.0
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
        values = np.stack(np.broadcast_arrays(self.s[:, None], away, 0.0, 0.0), -1)
        return ribbon('terrain', points, normals, values, strips, self.s,
                      np.ones(rows - 1, bool), 0)
