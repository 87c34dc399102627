# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Lane paths as padded tables, so that all agents move with a few array operations."""

from __future__ import annotations

import numpy as np

from deltaworld_training.street.layout import LanePath, Layout

LATERAL_COMFORT = 2.2  # m/s^2 in curves
BRAKING_COMFORT = 1.7  # m/s^2 before curves
SIGNAL_YELLOW, SIGNAL_CLEARANCE = 3.0, 2.0  # s


class Routes:
    """Samples, speed limits and stop lines of every lane path; constant for a world."""

    def __init__(self, layout: Layout, rng: np.random.Generator) -> None:
        self.paths: list[LanePath] = [*layout.forward, *layout.backward, *layout.turns,
                                      *layout.crossing]
        self.forward = list(range(len(layout.forward)))
        first = len(self.forward)
        self.backward = list(range(first, first + len(layout.backward)))
        self.crossing = list(range(first + len(layout.backward) + len(layout.turns),
                                   len(self.paths)))
        count, longest = len(self.paths), max(len(path.samples) for path in self.paths)
        self.samples = np.zeros((count, longest, 4))
        self.limit = np.zeros((count, longest))
        self.end = np.array([len(path.samples) - 1.0 for path in self.paths])
        self.entry = np.array([path.entry for path in self.paths])
        most = max((len(path.stops) for path in self.paths), default=0) or 1
        self.stop_s = np.full((count, most), np.inf)
        self.stop_junction = np.zeros((count, most), int)
        self.stop_axis = np.zeros((count, most), int)
        for i, path in enumerate(self.paths):
            size = len(path.samples)
            self.samples[i, :size] = path.samples
            self.samples[i, size:] = path.samples[-1]
            curvature = np.abs(np.gradient(path.samples[:, 3]))
            curvature = np.convolve(np.pad(curvature, 1, mode='edge'), [.25, .5, .25], 'valid')
            square = np.minimum(LATERAL_COMFORT / np.maximum(curvature, 1e-4), 1600.0)
            square[-14:] = 0.0  # everyone stops before the end
            ramp = 2 * BRAKING_COMFORT * np.arange(size)
            allowed = np.minimum.accumulate((square + ramp)[::-1])[::-1] - ramp
            self.limit[i, :size] = np.sqrt(np.maximum(allowed, 0.0))
            for k, (place, junction, axis) in enumerate(path.stops):
                self.stop_s[i, k] = place
                self.stop_junction[i, k], self.stop_axis[i, k] = junction, axis
        self.turns: dict[tuple[int, int], dict[str, int]] = {}
        offset = first + len(self.backward)
        for k, path in enumerate(layout.turns):
            group = self.forward if k % 4 < 2 else self.backward
            start = group[0] if path.turn == 'left' else group[-1]
            self.turns.setdefault((start, path.junction), {})[path.turn] = offset + k
        size = len(layout.junctions)
        self.signalled = np.array([j.signalled for j in layout.junctions], bool)
        self.middle = np.array([layout.main.at(j.s, 0.0)[:2] for j in layout.junctions]
                               ).reshape(size, 2)
        self.green = np.stack([rng.uniform(9, 18, size), rng.uniform(6, 11, size)], 1)
        self.offset = rng.uniform(0, 40, size)

    def pose(self, path: np.ndarray, s: np.ndarray, d: np.ndarray | float = 0.0) -> np.ndarray:
        """Return (..., 4) x, y, z, heading at arc length s and lateral offset d of the paths."""
        s = np.clip(s, 0.0, self.samples.shape[1] - 1.001)
        low = s.astype(int)
        part = (s - low)[..., None]
        pose = self.samples[path, low] * (1 - part) + self.samples[path, low + 1] * part
        pose[..., 0] -= np.sin(pose[..., 3]) * d
        pose[..., 1] += np.cos(pose[..., 3]) * d
        return pose

    def speed_limit(self, path: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Return the speed (m/s) that curves ahead and the path's end allow."""
        s = np.clip(s, 0.0, self.samples.shape[1] - 1.001)
        low = s.astype(int)
        part = s - low
        return self.limit[path, low] * (1 - part) + self.limit[path, low + 1] * part

    def signal(self, time: float) -> np.ndarray:
        """Return (junctions, 2) signal states for axis main, side: 0 red, 1 yellow, 2 green."""
        state = np.zeros((len(self.offset), 2), int)
        lost = SIGNAL_YELLOW + SIGNAL_CLEARANCE
        phase = (time + self.offset) % (self.green.sum(1) + 2 * lost)
        begin = np.stack([np.zeros(len(phase)), self.green[:, 0] + lost], 1)
        into = phase[:, None] - begin
        state[(into >= 0) & (into < self.green)] = 2
        state[(into >= self.green) & (into < self.green + SIGNAL_YELLOW)] = 1
        state[~self.signalled] = (2, 0)
        return state
