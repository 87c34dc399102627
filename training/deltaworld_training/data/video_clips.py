# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Clips of ordinary videos, cut, mirrored, recoloured, sped up and panned at random."""

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
# The share of the clips that are played at another rate, and of those whose cut moves.
CHANGED = 0.5
RATES = 0.6, 1.6
# How far a cut moves in a second at the most, across and up, in its own widths.
FASTEST = np.array([0.25, 0.03])


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
        if not self.augment:
            picked = self._pick(stamps, self.stride * np.arange(self.frames), generator)
            fit = ImageFit(images.shape[2], images.shape[1], *self.size)
            return Clip(np.stack([fit.apply(image) for image in images[picked]]),
                        stamps[picked] - stamps[picked[0]])
        # Played faster or slower, a drive is another drive at another speed.
        rate = generator.uniform(*RATES) if generator.random() < CHANGED else 1.0
        picked = self._pick(
            stamps, rate * clip_times(generator, self.frames, self.stride), generator)
        times = (stamps[picked] - stamps[picked[0]]) / rate
        frames = moving_cut(images[picked], times, self.size, generator)
        look = sample_look(generator)
        return Clip(np.stack([apply_look(frame, look, generator) for frame in frames]), times)

    def _pick(
        self, stamps: np.ndarray, times: np.ndarray, generator: np.random.Generator,
    ) -> np.ndarray:
        """Return the frames nearest to `times` (s) after a moment drawn at random."""
        times = times + generator.uniform(0.0, stamps[-1] - times[-1])
        picked: np.ndarray = np.abs(stamps[None] - times[:, None]).argmin(1)
        return picked


def moving_cut(
    images: np.ndarray, times: np.ndarray, size: tuple[int, int],
    generator: np.random.Generator,
) -> list[np.ndarray]:
    """
    Cut a random region of the target's aspect out of images (F, h, w, 3), mirrored or not.

    In some clips the region moves evenly with the times (s), as the view of a camera that turns.
    """
    height, width = images.shape[1:3]
    aspect = size[0] / size[1]
    wide = min(width, height * aspect) / generator.uniform(1.0, MAXIMUM_ZOOM)
    room = np.array([width - wide, height - wide / aspect])
    begin = generator.uniform(0.0, room)
    speed = np.zeros(2)
    if generator.random() < CHANGED:
        speed = wide * generator.uniform(-1.0, 1.0, 2) * FASTEST
    places = np.clip(begin + speed * times[:, None], 0.0, room)
    scale = size[0] / wide
    mirrored = generator.random() < 0.5
    frames = []
    for image, place in zip(images, places, strict=True):
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        x, y = scale * place
        frame = cv2.warpAffine(
            small, np.array([[1.0, 0.0, -x], [0.0, 1.0, -y]]), size, flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE)
        frames.append(np.ascontiguousarray(frame[:, ::-1] if mirrored else frame))
    return frames
