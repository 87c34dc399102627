# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames of the street world for training heads: few of a world, several looks of each."""

import numpy as np

from deltaworld_training.data.clip import Clip
from deltaworld_training.data.strong_looks import strong_look
from deltaworld_training.street.clip import render_clip
from deltaworld_training.street.renderer import Renderer

# Seconds between the frames of a world: enough for the view to change.
APART = 0.8
LOOKS = 3


class StreetLooks:
    """
    One clip a seed: rendered frames, each in several strong looks.

    A clip has LOOKS times `views` frames: all looks of the first view, then of the next.
    """

    def __init__(self, first_seed: int, count: int, views: int, size: tuple[int, int]):
        """Take the seeds, the views of each world and the image size (w, h)."""
        self.first_seed = first_seed
        self.count = count
        self.views = views
        self.size = size
        self._renderer: Renderer | None = None

    def __getstate__(self) -> dict:
        """Leave the renderer behind: a GL context belongs to one process."""
        return {**self.__dict__, '_renderer': None}

    def __len__(self) -> int:
        """Return the number of clips."""
        return self.count

    def clip(self, index: int) -> Clip:
        """Render clip `index`."""
        if self._renderer is None:
            self._renderer = Renderer(*self.size)
        seed = self.first_seed + index
        generator = np.random.default_rng((seed, 3))
        times = APART * np.arange(self.views)
        rendered = render_clip(seed, times.tolist(), *self.size, self._renderer)
        return Clip(
            frames=np.stack([strong_look(frame.rgb, generator, frame.labels)
                             for frame in rendered for _ in range(LOOKS)]),
            times=np.repeat(times, LOOKS),
            labels=np.stack([frame.labels for frame in rendered for _ in range(LOOKS)]),
            depth=np.stack([frame.depth for frame in rendered for _ in range(LOOKS)]),
            focal_length=float(rendered[0].intrinsics[0, 0]))
