# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Kinetics-700 (2020) as its archives unpack: `<root>/<split>/<class>/<id>_<start>_<end>.mp4`.

https://github.com/cvdfoundation/kinetics-dataset. Videos that lie in the split's folder without
a class are found as well, and so are folders of frames `<n>_<seconds>.jpg` in place of videos.
An annotation file (its columns youtube_id, time_start, time_end) keeps the videos it lists.
"""

import csv
import logging
from pathlib import Path

from deltaworld_ros.errors import UserError
from deltaworld_training.data.recordings import Recording
from deltaworld_training.data.sources.frame_folders import open_frame_folders
from deltaworld_training.data.sources.video_files import VideoFile, find_videos

_LOG = logging.getLogger('deltaworld_training.data')
_COLUMNS = ('youtube_id', 'time_start', 'time_end')


def open_kinetics(
    path: str | Path, split: str = 'train', annotations: str | Path | None = None,
) -> list[Recording]:
    """Return the videos of a split that are on disk."""
    folder = Path(path) / split
    if not folder.is_dir():
        raise UserError(f'{folder}: no such folder; Kinetics has <root>/{split}/<class>/*.mp4')
    videos = find_videos(folder)
    if not videos:
        return list(open_frame_folders(folder))
    if annotations:
        videos = _listed(videos, Path(annotations))
    return [VideoFile(video) for video in videos]


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
