# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cut one region out of all frames of a clip, and out of their maps and focal length alike."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from deltaworld_ros.camera.image_fit import ImageFit
from deltaworld_ros.camera.map_resize import reduce_map
from deltaworld_training.data.clip import Clip

_TRIES = 10
# The benchmark squashes longer frames to this.
MAX_ASPECT = 2


class Region(NamedTuple):
    """A rectangle in pixels of a frame."""

    x: int
    y: int
    width: int
    height: int
    mirrored: bool = False
    linear: bool = False


class Crop(Protocol):
    """A way to choose the region of a clip."""

    def region(
        self, frame: tuple[int, int], size: tuple[int, int], generator: np.random.Generator,
    ) -> Region:
        """Return what to cut out of frames of (w, h) for a target of (w, h)."""


@dataclass(frozen=True)
class RandomResizedCrop:
    """
    The paper's augmentation (appendix A): scale 0.6 to 1, aspect 3:4 to 4:3 of the target's.

    As usual, a region that does not fit is drawn again, and after ten the largest centred one of
    the nearest allowed aspect is taken. The paper's target is a square. The released training
    also mirrors half of the clips and shrinks them by linear interpolation without antialiasing,
    which the paper does not say: `mirror` is that share, and `linear` shrinks so. With `fit`
    squash the aspect is around that of the whole frame, as the forecaster then sees it.
    """

    scale: tuple[float, float] = (0.6, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    mirror: float = 0.0
    linear: bool = False
    fit: str = 'crop'

    def region(
        self, frame: tuple[int, int], size: tuple[int, int], generator: np.random.Generator,
    ) -> Region:
        """Return what to cut out of frames of (w, h) for a target of (w, h)."""
        frame_width, frame_height = frame
        mirrored = bool(generator.random() < self.mirror)
        target = size[0] / size[1] if self.fit == 'crop' else frame_width / frame_height
        low, high = target * self.aspect[0], target * self.aspect[1]
        for _ in range(_TRIES):
            area = frame_width * frame_height * generator.uniform(*self.scale)
            aspect = math.exp(generator.uniform(math.log(low), math.log(high)))
            width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < width <= frame_width and 0 < height <= frame_height:
                x = int(generator.integers(frame_width - width + 1))
                y = int(generator.integers(frame_height - height + 1))
                return Region(x, y, width, height, mirrored, self.linear)
        aspect = min(max(frame_width / frame_height, low), high)
        width = min(frame_width, max(1, round(frame_height * aspect)))
        height = min(frame_height, max(1, round(frame_width / aspect)))
        return Region((frame_width - width) // 2, (frame_height - height) // 2, width, height,
                      mirrored, self.linear)


@dataclass(frozen=True)
class BenchmarkCrop:
    """
    A square anywhere along the longer side, as the benchmark's two are at its ends.

    It takes the whole shorter side; frames longer than twice that are squashed to twice, as
    KITTI's are (paper, appendix B). Half of the clips are mirrored.
    """

    def region(
        self, frame: tuple[int, int], size: tuple[int, int], generator: np.random.Generator,
    ) -> Region:
        """Return what to cut out of frames of (w, h) for a target of (w, h)."""
        short = min(frame)
        width, height = (
            short if side < MAX_ASPECT * short else round(side / MAX_ASPECT)
            for side in frame)
        x, y = (int(generator.integers(side - part + 1))
                for side, part in zip(frame, (width, height), strict=True))
        return Region(x, y, width, height, bool(generator.random() < 0.5), linear=True)


@dataclass(frozen=True)
class CentreCrop:
    """What the running forecaster sees of a frame, fitted as by `ImageFit`."""

    fit: str = 'crop'

    def region(
        self, frame: tuple[int, int], size: tuple[int, int], generator: np.random.Generator,
    ) -> Region:
        """Return what to cut out of frames of (w, h) for a target of (w, h)."""
        return Region(*ImageFit(*frame, *size, self.fit).region)


def cut(clip: Clip, region: Region, size: tuple[int, int]) -> Clip:
    """
    Cut a region out of a clip, resize it to (w, h), and mirror it where the region says so.

    Labels and depth take the pixel at the centre of each new one. Depth stays in metres; the
    focal length, the mean of both axes, follows the resize.
    """
    x, y, width, height, mirrored, linear = region
    seen = np.s_[:, y:y + height, x:x + width]
    shrinks = width > size[0] or height > size[1]
    smooth = cv2.INTER_AREA if shrinks and not linear else cv2.INTER_LINEAR

    def resize(images: np.ndarray, one: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        if (width, height) != size:
            images = np.stack([one(image) for image in images])
        return np.ascontiguousarray(images[:, :, ::-1] if mirrored else images)

    def sample(one: np.ndarray) -> np.ndarray:
        return reduce_map(one, size)

    return Clip(
        frames=resize(
            clip.frames[seen],
            lambda image: np.asarray(cv2.resize(image, size, interpolation=smooth))),
        times=clip.times,
        labels=None if clip.labels is None else resize(clip.labels[seen], sample),
        depth=None if clip.depth is None else resize(clip.depth[seen], sample),
        focal_length=None if clip.focal_length is None else clip.focal_length * math.sqrt(
            size[0] / width * size[1] / height),
    )


def canonical_depth(clip: Clip, focal_length: float) -> np.ndarray | None:
    """
    Return the depth (F, h, w) that a camera of `focal_length` pixels would see, NaN if unknown.

    Networks predict depth for one canonical focal length; an object looks the same twice as far
    away through twice the focal length. None where the clip has no depth or no focal length.
    """
    if clip.depth is None or clip.focal_length is None:
        return None
    depth = clip.depth * (focal_length / clip.focal_length)
    return np.where(np.isfinite(depth), depth, np.nan).astype(np.float32)
