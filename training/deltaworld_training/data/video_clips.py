# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Clips of ordinary videos, cut, mirrored and recoloured at random."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np

from deltaworld_ros.camera.image_fit import ImageFit
from deltaworld_ros.errors import UserError
from deltaworld_training.data.clip import Clip, clip_times
from deltaworld_training.data.photometric import apply_look, sample_look

MAXIMUM_ZOOM = 1.5


@dataclass(frozen=True)
class Video:
    """
    A video file from `start` to `end` seconds, and how its camera stands over the road.

    horizon: row of a flat road's horizon as a share of the picture's height, None if unknown;
    camera_height: metres above the road.
    """

    path: Path
    start: float = 0.0
    end: float | None = None
    horizon: float | None = None
    camera_height: float = 1.2


@lru_cache(maxsize=8)
def read_video(video: Video, maximum_width: int = 960) -> tuple[np.ndarray, np.ndarray]:
    """Read a range: frames (F, h, w, 3) uint8 RGB, reduced in width, and times (F,) s from 0."""
    frames: list[np.ndarray] = []
    times: list[float] = []
    first: float | None = None
    with av.open(str(video.path)) as container:
        for frame in container.decode(video=0):
            first = float(frame.time) if first is None else first
            time = float(frame.time) - first
            if video.end is not None and time >= video.end:
                break
            if time < video.start:
                continue
            image = frame.to_ndarray(format='rgb24')
            scale = maximum_width / image.shape[1]
            if scale < 1.0:
                image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            frames.append(image)
            times.append(time)
    if not frames:
        raise UserError(f'{video.path}: has no frames from {video.start:g} s to its end or '
                        f'{video.end} s')
    return np.stack(frames), np.asarray(times) - times[0]


class VideoClips:
    """Random clips of a few videos; every index draws its own crop, colours and times."""

    def __init__(
        self, videos: Sequence[Video], count: int, frames: int, stride: float,
        size: tuple[int, int], seed: int, augment: bool = True,
    ):
        """
        Take the videos, the clips to draw, frames a clip, seconds a step and (w, h).

        Without `augment` clips keep their colours and are cut as the forecaster cuts them.
        """
        self.videos = list(videos)
        self.count = count
        self.frames = frames
        self.stride = stride
        self.size = size
        self.seed = seed
        self.augment = augment

    def __len__(self) -> int:
        """Return the number of clips."""
        return self.count

    def clip(self, index: int) -> Clip:
        """Draw clip `index`: the nearest frames to its times, cut and recoloured alike."""
        generator = np.random.default_rng((self.seed, index))
        lengths = np.array([read_video(video)[1][-1] for video in self.videos])
        video = self.videos[generator.choice(len(self.videos), p=lengths / lengths.sum())]
        images, stamps = read_video(video)
        times = clip_times(generator, self.frames, self.stride)
        if not self.augment:
            times = self.stride * np.arange(self.frames)
        times = times + generator.uniform(0.0, stamps[-1] - times[-1])
        picked = np.abs(stamps[None] - times[:, None]).argmin(1)
        if not self.augment:
            fit = ImageFit(images.shape[2], images.shape[1], *self.size)
            return Clip(np.stack([fit.apply(image) for image in images[picked]]),
                        stamps[picked] - stamps[picked[0]])
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
