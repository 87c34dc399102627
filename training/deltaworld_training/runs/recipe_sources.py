# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The clips that a recipe asks for: what is rendered, and what is cut from its videos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from deltaworld_ros.errors import UserError
from deltaworld_training.data.clip import ClipSource
from deltaworld_training.data.description import fingerprint
from deltaworld_training.data.junction_clips import JunctionClips
from deltaworld_training.data.street_clips import StreetClips
from deltaworld_training.data.street_looks import LOOKS, StreetLooks
from deltaworld_training.runs.recipe import Recipe, VideoSettings
from deltaworld_training.street.world import TRAIN_SEEDS

if TYPE_CHECKING:
    from deltaworld_training.data.video_clips import Video

# The heads' worlds come after every world that the other parts see.
HEAD_SEEDS = TRAIN_SEEDS.start + 600_000
HEAD_VIEWS = 3
JUNCTION_SEEDS = TRAIN_SEEDS.start + 2_000_000
CALIBRATION_SEEDS = TRAIN_SEEDS.start + 900_000
CALIBRATION_CUTS = 60
# The settings of a recipe's data that decide the clips of each source.
SETTINGS = {
    'street': ('street_first', 'street_clips'),
    'junctions': ('street_first', 'junction_clips'), 'videos': ('video_clips', 'videos'),
    'street_looks': ('street_first', 'head_worlds'), 'video_looks': ('head_frames', 'videos'),
    'calibration_street': ('calibration_clips',), 'calibration_videos': ('calibration_videos',),
}


def check_videos(recipe: Recipe, folder: Path | None) -> None:
    """Raise `UserError` where a video of the recipe is not in the folder."""
    data = recipe.needed('data')
    names = list(dict.fromkeys(
        video.file for video in (*data.used_videos, *data.calibration_videos)))
    if names and folder is None:
        raise UserError(f'--videos: give the folder that holds {", ".join(names)}')
    missing = [str(folder / name) for name in names if folder and not (folder / name).is_file()]
    if missing:
        raise UserError(f'--videos: not found: {", ".join(missing)}')


def clip_sources(recipe: Recipe, folder: Path | None) -> dict[str, ClipSource]:
    """Return what every part is trained on by the name of its store."""
    data, image = recipe.needed('data'), recipe.needed('image')
    size, stride = (image.width, image.height), recipe.needed('forecast').stride
    sources: dict[str, ClipSource] = {'street': StreetClips(
        TRAIN_SEEDS.start + data.street_first, data.street_clips, data.clip_frames, stride, size)}
    if data.junction_clips:
        sources['junctions'] = JunctionClips(
            JUNCTION_SEEDS + data.street_first, data.junction_clips, data.clip_frames, stride,
            size)
    if data.video_clips:
        # Only videos need their decoder.
        from deltaworld_training.data.video_clips import VideoClips
        sources['videos'] = VideoClips(
            _videos(data.videos, folder), data.video_clips, data.clip_frames, stride, size,
            recipe.seed)
    return sources


def look_sources(recipe: Recipe, folder: Path | None) -> dict[str, tuple[ClipSource, int]]:
    """Return what only the heads are trained on, with the frames of its clips."""
    data, image = recipe.needed('data'), recipe.needed('image')
    size = (image.width, image.height)
    sources: dict[str, tuple[ClipSource, int]] = {}
    if data.head_worlds:
        looks = StreetLooks(HEAD_SEEDS + data.street_first, data.head_worlds, HEAD_VIEWS, size)
        sources['street_looks'] = looks, LOOKS * HEAD_VIEWS
    if data.head_frames:
        from deltaworld_training.data.video_looks import VideoLooks
        pictures = VideoLooks(
            _videos(data.videos, folder), data.head_frames, size, recipe.seed)
        sources['video_looks'] = pictures, 2
    return sources


def calibration_sources(recipe: Recipe, folder: Path | None) -> dict[str, ClipSource]:
    """Return what no part is trained on, to fit the temperatures on."""
    data, image = recipe.needed('data'), recipe.needed('image')
    size, stride = (image.width, image.height), recipe.needed('forecast').stride
    sources: dict[str, ClipSource] = {}
    if data.calibration_clips:
        sources['calibration_street'] = StreetClips(
            CALIBRATION_SEEDS, data.calibration_clips, data.clip_frames, stride, size)
    if data.calibration_videos:
        from deltaworld_training.data.video_clips import VideoClips
        sources['calibration_videos'] = VideoClips(
            _videos(data.calibration_videos, folder), CALIBRATION_CUTS, data.clip_frames, stride,
            size, recipe.seed, augment=False)
    return sources


def source_description(recipe: Recipe, folder: Path | None, name: str) -> dict[str, Any]:
    """Return what decides the clips of a source, by its name."""
    data, image = recipe.needed('data'), recipe.needed('image')
    settings = {key: value for key, value in data.model_dump().items()
                if key in ('clip_frames', *SETTINGS[name])}
    described = {**settings, 'size': [image.width, image.height],
                 'stride': recipe.needed('forecast').stride}
    cut = [video['file'] for key in ('videos', 'calibration_videos')
           for video in settings.get(key, [])]
    if cut and folder is not None:
        described |= {'seed': recipe.seed, 'files': [fingerprint(folder / file) for file in cut]}
    return described


def _videos(videos: list[VideoSettings], folder: Path | None) -> list[Video]:
    from deltaworld_training.data.video_clips import Video
    return [
        Video((folder or Path()) / video.file, video.start, video.end, video.horizon,
              video.camera_height)
        for video in videos]
