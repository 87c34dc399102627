# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Refuse misspelt launch arguments, which `ros2 launch` ignores without a word."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from deltaworld_ros.errors import UserError

# Of forecast.launch.py; they reach it through the launch files that include it.
FORECAST_LAUNCH = (
    'namespace', 'params_file', 'bundle', 'image', 'camera_info', 'odom', 'camera_pose',
    'transport', 'use_sim_time', 'log_level', 'autostart', 'respawn')
_ASSIGNS = ':='


def refuse_unknown_arguments(
        launch_file: str, names: Collection[str], words: Sequence[str] | None = None) -> None:
    """
    Raise `UserError` where `ros2 launch` got an argument that is none of these names.

    `words` are those of the command line, by default this process's. Where they name another
    launch file, which includes this one, arguments are that file's business.
    """
    words = sys.argv[1:] if words is None else words
    if all(Path(word).name != Path(launch_file).name for word in words):
        return
    for word in words:
        name, assigns, _ = word.partition(_ASSIGNS)
        if assigns and name not in names:
            near = difflib.get_close_matches(name, names, 1)
            raise UserError(
                f'launch argument {name} is unknown'
                + (f'; do you mean {near[0]}?' if near else f'; accepted: {", ".join(names)}'))
