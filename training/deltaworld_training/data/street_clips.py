# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Clips of the street world, rendered when they are asked for."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from deltaworld_training.data.clip import Clip, clip_times
from deltaworld_training.data.photometric import apply_look, sample_look
from deltaworld_training.street.clip import ClipRenderer, ego_motion
from deltaworld_training.street.renderer import Frame
from deltaworld_training.street.world import StreetWorld


class StreetClips:
    """One clip a seed: the world, its camera, its weather and the sensor's look all follow it."""

    def __init__(
        self, first_seed: int, count: int, frames: int, stride: float | None,
        size: tuple[int, int],
    ):
        """
        Take the seeds, frames a clip, seconds a step and the image size (w, h).

        Without a stride the offsets between frames are the paper's, uniform in [1/25, 1/3] s.
        """
        self.first_seed = first_seed
        self.count = count
        self.frames = frames
        self.stride = stride
        self.size = size
        self._renderer = ClipRenderer(size)

    def __len__(self) -> int:
        """Return the number of clips."""
        return self.count

    def world(self, seed: int, generator: np.random.Generator) -> StreetWorld:
        """Return the world of a seed at the beginning of its clip."""
        return StreetWorld(seed)

    def clip(self, index: int) -> Clip:
        """Render clip `index`."""
        generator, world, times = self._begin(index)
        rendered = self._renderer.render(world, (max(0.0, world.time) + times).tolist())
        look = sample_look(generator)
        return replace(
            rendered_clip(
                rendered, times, [apply_look(frame.rgb, look, generator) for frame in rendered]),
            motion=ego_motion([frame.ego for frame in rendered], times))

    def motion(self, index: int) -> np.ndarray:
        """Return the motion (F, 2) of clip `index` without rendering it."""
        _, world, times = self._begin(index)
        moments = (max(0.0, world.time) + times).tolist()
        return ego_motion(
            [world.ego_places(world.advance_to(moment)) for moment in moments], times)

    def _begin(self, index: int) -> tuple[np.random.Generator, StreetWorld, np.ndarray]:
        """Return a clip's random numbers, its world at its beginning, and its times (F,) in s."""
        seed = self.first_seed + index
        generator = np.random.default_rng((seed, 1))
        if self.stride is None:
            offsets = generator.uniform(1 / 25, 1 / 3, self.frames - 1)
            times = np.concatenate([[0.0], np.cumsum(offsets)])
        else:
            times = clip_times(generator, self.frames, self.stride)
        return generator, self.world(seed, generator), times


def rendered_clip(
    rendered: Sequence[Frame], times: np.ndarray, pictures: Sequence[np.ndarray],
) -> Clip:
    """Join rendered frames, their times (F,) in s and what a camera makes of them (h, w, 3)."""
    return Clip(
        frames=np.stack(pictures),
        times=times,
        labels=np.stack([frame.labels for frame in rendered]),
        depth=np.stack([frame.depth for frame in rendered]),
        focal_length=float(rendered[0].intrinsics[0, 0]),
    )
