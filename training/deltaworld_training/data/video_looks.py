# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of ordinary videos for training heads: two looks of each, and a flat road's depth."""

from collections.abc import Sequence

import numpy as np

from deltaworld_training.data.clip import Clip
from deltaworld_training.data.crops import Region, cut
from deltaworld_training.data.photometric import apply_look, sample_look
from deltaworld_training.data.strong_looks import strong_look
from deltaworld_training.data.video_clips import MAXIMUM_ZOOM, Video, read_video

# Beyond this many times its height, a camera's pitch decides about the depth of the road.
MAX_DISTANCE = 33.0
# Cuts of this width, at the largest zoom, still have more pixels than the networks see.
WIDTH = 640


def flat_road_depth(shape: tuple[int, int], video: Video, focal_length: float) -> np.ndarray:
    """
    Return the depth (h, w) in metres of a flat road in every pixel, NaN where it has none.

    A point of the road `height` below the camera is seen focal_length * height / depth pixels
    below the horizon.
    """
    height, width = shape
    if video.horizon is None:
        return np.full(shape, np.nan, np.float32)
    below = np.arange(height) + 0.5 - video.horizon * height
    with np.errstate(divide='ignore'):
        depth = focal_length * video.camera_height / below
    far = focal_length / width * 4 / 3 * MAX_DISTANCE * video.camera_height
    depth[(below <= 0) | (depth > far)] = np.nan
    return np.repeat(depth[:, None], width, axis=1).astype(np.float32)


class VideoLooks:
    """
    Random cuts of single frames, each twice: in a camera's look and in a strong one.

    Depth is that of a flat road, for pixels that show road; labels are unknown.
    """

    def __init__(self, videos: Sequence[Video], count: int, size: tuple[int, int], seed: int):
        """Take the videos, the frames to draw and the image size (w, h)."""
        self.videos = list(videos)
        self.count = count
        self.size = size
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of clips."""
        return self.count

    def clip(self, index: int) -> Clip:
        """Draw frame `index`, its cut and its looks."""
        generator = np.random.default_rng((self.seed, index))
        lengths = np.array([len(read_video(video, WIDTH)[1]) for video in self.videos])
        video = self.videos[generator.choice(len(self.videos), p=lengths / lengths.sum())]
        frames = read_video(video, WIDTH)[0]
        frame = frames[generator.integers(len(frames))]
        height, width = frame.shape[:2]
        # Any focal length gives the same depth for the canonical one: the picture is what it is.
        focal_length = 0.9 * width
        clip = cut(
            Clip(frame[None], np.zeros(1), None,
                 flat_road_depth((height, width), video, focal_length)[None], focal_length),
            self._region(width, height, generator), self.size)
        looks = (apply_look(clip.frames[0], sample_look(generator), generator),
                 strong_look(clip.frames[0], generator))
        assert clip.depth is not None
        return Clip(np.stack(looks), np.zeros(2), None, np.repeat(clip.depth, 2, axis=0),
                    clip.focal_length)

    def _region(self, width: int, height: int, generator: np.random.Generator) -> Region:
        aspect = self.size[0] / self.size[1]
        zoom = generator.uniform(1.0, MAXIMUM_ZOOM)
        wide = min(width, height * aspect) / zoom
        high = wide / aspect
        return Region(
            int(generator.uniform(0.0, width - wide)), int(generator.uniform(0.0, height - high)),
            int(wide), int(high), bool(generator.random() < 0.5))
