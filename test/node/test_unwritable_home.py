# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where ROS cannot write its log, starting fails in one line that says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = Path(__file__).resolve().parents[2] / 'deltaworld_ros' / 'sample' / 'highway'


@pytest.mark.parametrize('command', [
    ['deltaworld_ros.node.forecast_node', '--ros-args', '-p', 'autostart:=true'],
    ['deltaworld_ros.cli', 'replay', str(SAMPLE)]])
def test_home_that_cannot_be_written_is_one_line(command: list[str], tmp_path: Path) -> None:
    (tmp_path / '.ros').write_text('a file in the place of the folder')
    environment = {name: value for name, value in os.environ.items()
                   if name not in ('ROS_LOG_DIR', 'ROS_HOME')}
    done = subprocess.run([sys.executable, '-m', *command], timeout=120, capture_output=True,
                          text=True, env={**environment, 'HOME': str(tmp_path)}, check=False)
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if 'log directory' in line]
    assert 'export ROS_LOG_DIR=' in line
    assert 'Traceback' not in done.stderr and 'RCLError' not in done.stderr


def test_no_home_at_all_is_told_with_the_remedy() -> None:
    environment = {name: value for name, value in os.environ.items()
                   if name not in ('ROS_LOG_DIR', 'ROS_HOME', 'HOME')}
    done = subprocess.run([sys.executable, '-m', 'deltaworld_ros.node.forecast_node'], timeout=120,
                          capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith('export ROS_LOG_DIR=/tmp/ros_log')
