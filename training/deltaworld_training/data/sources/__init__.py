# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where recordings come from: one file a kind of source, opened here by name."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deltaworld_ros.errors import UserError
from deltaworld_training.data.recordings import Recording, Window
from deltaworld_training.data.sources.bags import open_bags
from deltaworld_training.data.sources.cityscapes import cityscapes_windows, open_cityscapes
from deltaworld_training.data.sources.frame_folders import open_frame_folders
from deltaworld_training.data.sources.kinetics import open_kinetics
from deltaworld_training.data.sources.kitti import eigen_windows, open_kitti
from deltaworld_training.data.sources.video_files import open_videos
from deltaworld_training.data.sources.vspw import open_vspw, vspw_windows

_SOURCES: dict[str, Callable[..., Sequence[Recording]]] = {
    'videos': open_videos,
    'frames': open_frame_folders,
    'bag': open_bags,
    'kinetics': open_kinetics,
    'vspw': open_vspw,
    'cityscapes': open_cityscapes,
    'kitti': open_kitti,
}
_BENCHMARKS: dict[str, Callable[..., list[Window]]] = {
    'vspw': vspw_windows,
    'cityscapes': cityscapes_windows,
    'kitti': eigen_windows,
}
KINDS = tuple(_SOURCES)


def open_recordings(
    kind: str, path: str | Path | Sequence[str | Path], **options: Any,
) -> list[Recording]:
    """
    Return the recordings of a source; docs/datasets.md tells the layout and options of each kind.

    Nothing is decoded yet. Raise `UserError` for an unknown kind or option, and where there is
    no recording at all.
    """
    return list(_call(_SOURCES, kind, path, options))


def open_windows(kind: str, path: str | Path, **options: Any) -> list[Window]:
    """Return the windows (4 frames of context, 3 of future) of a benchmark, as published."""
    windows = _call(_BENCHMARKS, kind, path, options)
    if not windows:
        raise UserError(f'{path}: no window of the {kind} benchmark is there')
    return windows


def _call(openers: dict[str, Callable[..., Any]], kind: str, path: Any, options: dict) -> Any:
    if kind not in openers:
        raise UserError(f'source {kind!r}: must be one of {", ".join(openers)}')
    if isinstance(path, (str, Path)) and not Path(path).exists():
        raise UserError(f'{path}: there is no such file or folder ({kind})')
    accepted = list(inspect.signature(openers[kind]).parameters)[1:]
    for name in options:
        if name not in accepted:
            raise UserError(f'option {name!r} of source {kind!r}: must be one of '
                            f'{", ".join(accepted) or "none"}')
    return openers[kind](path, **options)
