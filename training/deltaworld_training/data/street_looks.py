# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames of the street world for training heads: few of a world, several looks of each."""

import numpy as np

from deltaworld_training.data.clip import Clip
from deltaworld_training.data.street_clips import rendered_clip
from deltaworld_training.data.strong_looks import strong_look
from deltaworld_training.street.clip import ClipRenderer
from deltaworld_training.street.world import StreetWorld

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
        self._renderer = ClipRenderer(size)

    def __len__(self) -> int:
        """Return the number of clips."""
        return self.count

    def clip(self, index: int) -> Clip:
        """Render clip `index`."""
        seed = self.first_seed + index
        generator = np.random.default_rng((seed, 3))
        times = APART * np.arange(self.views)
        rendered = self._renderer.render(StreetWorld(seed), times.tolist())
        looks = [frame for frame in rendered for _ in range(LOOKS)]
        return rendered_clip(
            looks, np.repeat(times, LOOKS),
            [strong_look(frame.rgb, generator, frame.labels) for frame in looks])
