# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Clips of ordinary videos, cut, mirrored and recoloured at random."""

from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np

from deltaworld_training.data.clip import Clip, clip_times
from deltaworld_training.data.photometric import apply_look, sample_look

MAXIMUM_ZOOM = 1.5


@lru_cache(maxsize=4)
def read_video(path: Path, maximum_width: int = 960) -> tuple[np.ndarray, np.ndarray]:
    """Read a whole video: frames (F, h, w, 3) uint8 RGB, reduced in width, and times (F,) s."""
    frames, times = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            image = frame.to_ndarray(format='rgb24')
            scale = maximum_width / image.shape[1]
            if scale < 1.0:
                image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            frames.append(image)
            times.append(float(frame.time))
    return np.stack(frames), np.asarray(times) - times[0]


class VideoClips:
    """Random clips of a few videos; every index draws its own crop, colours and times."""

    def __init__(
        self, paths: list[Path], count: int, frames: int, stride: float, size: tuple[int, int],
        seed: int,
    ):
        """Take the videos, the clips to draw, frames a clip, seconds a step and (w, h)."""
        self.paths = paths
        self.count = count
        self.frames = frames
        self.stride = stride
        self.size = size
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of clips."""
        return self.count

    def clip(self, index: int) -> Clip:
        """Draw clip `index`: the nearest frames to its times, cut and recoloured alike."""
        generator = np.random.default_rng((self.seed, index))
        lengths = np.array([read_video(path)[1][-1] for path in self.paths])
        path = self.paths[generator.choice(len(self.paths), p=lengths / lengths.sum())]
        images, stamps = read_video(path)
        times = clip_times(generator, self.frames, self.stride)
        times += generator.uniform(0.0, stamps[-1] - times[-1])
        picked = np.abs(stamps[None] - times[:, None]).argmin(1)
        frames = [
            np.ascontiguousarray(image)
            for image in self._cut(images[picked], generator)
        ]
        look = sample_look(generator)
        frames = [apply_look(frame, look, generator) for frame in frames]
        return Clip(np.stack(frames), stamps[picked] - stamps[picked[0]])

    def _cut(self, images: np.ndarray, generator: np.random.Generator) -> list[np.ndarray]:
        """Cut the same random region, of the target's aspect, out of every image."""
        height, width = images.shape[1:3]
        aspect = self.size[0] / self.size[1]
        zoom = generator.uniform(1.0, MAXIMUM_ZOOM)
        cut_width = min(width, height * aspect) / zoom
        cut_height = cut_width / aspect
        x = int(generator.uniform(0.0, width - cut_width))
        y = int(generator.uniform(0.0, height - cut_height))
        region = images[:, y:y + int(cut_height), x:x + int(cut_width)]
        if generator.random() < 0.5:
            region = region[:, :, ::-1]
        return [
            cv2.resize(image, self.size, interpolation=cv2.INTER_AREA) for image in region
        ]
