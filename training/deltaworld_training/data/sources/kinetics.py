# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Kinetics-700 (2020) as its archives unpack: `<root>/<split>/<class>/<id>_<start>_<end>.mp4`.

https://github.com/cvdfoundation/kinetics-dataset. Videos that lie in the split's folder without
a class are found as well, and so are folders of frames `<n>_<seconds>.jpg` in place of videos.
An annotation file (its columns youtube_id, time_start, time_end) keeps the videos it lists; the
release leaves five out (`datasets/kinetics_excluded.txt`), which a recipe names in `exclude`.
"""

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

from deltaworld_ros.errors import UserError
from deltaworld_training.data.recordings import Recording
from deltaworld_training.data.sources.frame_folders import open_frame_folders
from deltaworld_training.data.sources.video_files import VIDEO_SUFFIXES, VideoFile, find_videos

_LOG = logging.getLogger('deltaworld_training.data')
_COLUMNS = ('youtube_id', 'time_start', 'time_end')


def open_kinetics(
    path: str | Path, split: str = 'train', annotations: str | Path | None = None,
    exclude: Sequence[str] = (),
) -> list[Recording]:
    """Return the videos of a split that are on disk, without the `exclude`d `<class>/<video>`."""
    folder = Path(path) / split
    if not folder.is_dir():
        raise UserError(f'{folder}: no such folder; Kinetics has <root>/{split}/<class>/*.mp4')
    videos = find_videos(folder)
    if not videos:
        frames = open_frame_folders(folder)
        kept = set(_without([Path(found.name) for found in frames], exclude, folder))
        return [found for found in frames if Path(found.name) in kept]
    videos = _without(videos, exclude, folder)
    if annotations:
        videos = _listed(videos, Path(annotations))
    return [VideoFile(video) for video in videos]


def _without(videos: list[Path], exclude: Sequence[str], folder: Path) -> list[Path]:
    names = {name.removesuffix('.mp4') for name in exclude}
    kept = [video for video in videos
            if '/'.join(_stem(video).parts[-2:]) not in names]
    if missing := len(names) - (len(videos) - len(kept)):
        _LOG.warning('%s: %d of %d videos to exclude are not there', folder, missing, len(names))
    return kept


def _stem(video: Path) -> Path:
    return video.with_suffix('') if video.suffix.lower() in VIDEO_SUFFIXES else video


def _listed(videos: list[Path], annotations: Path) -> list[Path]:
    try:
        with annotations.open(newline='') as file:
            names = {
                f'{row[_COLUMNS[0]]}_{int(row[_COLUMNS[1]]):06d}_{int(row[_COLUMNS[2]]):06d}'
                for row in csv.DictReader(file)}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f'{annotations}: not a Kinetics csv file with the columns '
                        f'{", ".join(_COLUMNS)}: {error}') from None
    found = [video for video in videos if video.stem in names]
    if not found:
        raise UserError(f'{annotations}: lists none of the {len(videos)} videos')
    missing = len(names) - len({video.stem for video in found})
    if missing:
        # Thousands were taken off YouTube; a line for each would hide what matters.
        _LOG.warning('%s: %d of %d videos are not there', annotations, missing, len(names))
    return found
