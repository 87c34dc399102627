# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Open a source of clips by its kind, as recipes and commands name it."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from deltaworld_ros.errors import UserError
from deltaworld_training.data.clip import ClipSource
from deltaworld_training.data.crops import BenchmarkCrop, CentreCrop, Crop, RandomResizedCrop
from deltaworld_training.data.recordings import Recording
from deltaworld_training.data.sampled_clips import SampledClips
from deltaworld_training.data.sampling import FixedStride, RandomOffsets, Sampling
from deltaworld_training.data.shard_stream import ShardClips
from deltaworld_training.data.sources.bags import open_bags
from deltaworld_training.data.sources.cityscapes import open_cityscapes
from deltaworld_training.data.sources.frame_folders import open_frame_folders
from deltaworld_training.data.sources.kinetics import open_kinetics
from deltaworld_training.data.sources.kitti import open_kitti
from deltaworld_training.data.sources.video_files import open_videos
from deltaworld_training.data.sources.vspw import open_vspw
from deltaworld_training.data.street_clips import StreetClips
from deltaworld_training.street.world import TRAIN_SEEDS

RECORDINGS: dict[str, Callable[..., Sequence[Recording]]] = {
    'videos': open_videos,
    'frames': open_frame_folders,
    'bags': open_bags,
    'kinetics': open_kinetics,
    'vspw': open_vspw,
    'cityscapes': open_cityscapes,
    'kitti': open_kitti,
}
CROPS: dict[str, Callable[[], Crop]] = {
    'random': RandomResizedCrop, 'centre': CentreCrop, 'benchmark': BenchmarkCrop,
    'squash': functools.partial(CentreCrop, fit='squash'),
    'mirrored': functools.partial(RandomResizedCrop, mirror=0.5),
    'released': functools.partial(RandomResizedCrop, mirror=0.5, linear=True)}
MANY = 1_000_000


@dataclass(frozen=True)
class SourceSettings:
    """
    One source of a mixture.

    kind: street, shards, or one of RECORDINGS; path: file, folder or URL; weight: its share of
    the clips, of the sum of all; options: `clips` (how many to draw before they come again;
    shards have their own number), `first_seed` for street, `crop` (random, mirrored, released,
    benchmark, centre, squash) for recordings, and what else the source's own function takes.
    """

    kind: str
    path: str = ''
    weight: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawing:
    """How clips are drawn: size (w, h), frames, seconds a step (None: the paper's), seed."""

    size: tuple[int, int]
    frames: int
    stride: float | None
    seed: int


def open_source(settings: SourceSettings, drawing: Drawing) -> ClipSource:
    """Open a source; an unknown kind or option raises `UserError`."""
    if settings.kind == 'street':
        return _checked(_street, settings, drawing)
    if settings.kind == 'shards':
        return _checked(_shards, settings, drawing)
    if settings.kind in RECORDINGS:
        return _recordings(settings, drawing)
    raise UserError(f'source kind {settings.kind!r}: not one of street, shards, '
                    f'{", ".join(RECORDINGS)}')


def _street(
    path: str, drawing: Drawing, first_seed: int = TRAIN_SEEDS.start, clips: int = MANY,
) -> ClipSource:
    return StreetClips(first_seed, clips, drawing.frames, drawing.stride, drawing.size)


def _shards(path: str, drawing: Drawing) -> ClipSource:
    clips = ShardClips(path)
    frames, height, width = clips.clip(0).frames.shape[:3]
    if (frames, (width, height)) != (drawing.frames, tuple(drawing.size)):
        raise UserError(
            f'{path}: shards hold {frames} frames of {width}x{height}, not {drawing.frames} of '
            f'{drawing.size[0]}x{drawing.size[1]}; write others or change the settings')
    return clips


def _recordings(settings: SourceSettings, drawing: Drawing) -> ClipSource:
    options = dict(settings.options)
    clips, crop = options.pop('clips', MANY), options.pop('crop', 'random')
    if crop not in CROPS:
        raise UserError(f'source {settings.kind}: crop {crop!r} is not one of {", ".join(CROPS)}')
    recordings = _checked(RECORDINGS[settings.kind], SourceSettings(
        settings.kind, settings.path, options=options))
    sampling: Sampling = RandomOffsets(drawing.frames)
    if drawing.stride is not None:
        sampling = FixedStride(drawing.stride, drawing.frames)
    return SampledClips(
        recordings, sampling, CROPS[crop](), drawing.size, clips, drawing.seed)


def _checked(function: Callable, settings: SourceSettings, *arguments: Any) -> Any:
    """Call a function with the path and the options, which may be misspelt."""
    try:
        inspect.signature(function).bind(settings.path, *arguments, **settings.options)
    except TypeError as error:
        raise UserError(f'source {settings.kind}: options {settings.options}: {error}') from None
    return function(settings.path, *arguments, **settings.options)
