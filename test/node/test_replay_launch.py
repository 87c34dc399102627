# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The launch file that replays a recording agrees with the command, the node and the docs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from deltaworld_ros.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SOURCE = (ROOT / 'launch' / 'replay.launch.py').read_text(encoding='utf-8')


def constants(tree: ast.AST) -> list[str]:
    return [node.value for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def test_its_command_has_only_options_of_deltaworld_replay() -> None:
    command = next(node.value for node in ast.walk(ast.parse(SOURCE))
                   if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'command')
    given = {word for word in constants(command) if word.startswith('--')}
    shown = subprocess.run(
        [sys.executable, '-m', 'deltaworld_ros.cli', 'replay', '--help'], capture_output=True,
        text=True, check=True, cwd=ROOT, env={'COLUMNS': '200', 'PATH': '', 'TERM': 'dumb'}).stdout
    assert given == {'--clock', '--rate', '--wait', '--quiet', '--loop', '--image',
                     '--image-topic', '--camera-info-topic'}
    assert given <= set(re.findall(r'--[a-z-]+', shown))


def test_it_hands_on_arguments_that_the_node_has() -> None:
    tree = ast.parse(SOURCE)
    forecast = (ROOT / 'launch' / 'forecast.launch.py').read_text(encoding='utf-8')
    declared = set(re.findall(r"DeclareLaunchArgument\(\s*'(\w+)'", forecast))
    handed = next(node for node in ast.walk(tree) if isinstance(node, ast.keyword)
                  and node.arg == 'launch_arguments')
    pairs = {ast.literal_eval(one.elts[0]) for one in ast.walk(handed.value)
             if isinstance(one, ast.Tuple) and isinstance(one.elts[0], ast.Constant)}
    own = next(node.value for node in ast.walk(tree) if isinstance(node, ast.Assign)
               and ast.unparse(node.targets[0]) == 'FORECAST_ARGUMENTS')
    assert pairs == {'image', 'camera_info', 'transport', 'use_sim_time'}
    assert pairs | set(ast.literal_eval(own)) <= declared


def test_the_docs_tell_its_arguments() -> None:
    declared = re.findall(r"DeclareLaunchArgument\(\s*'(\w+)'", SOURCE)
    text = (ROOT / 'docs' / 'evaluation.md').read_text(encoding='utf-8')
    section = text.split('## Replay in ROS')[1].split('\n## ')[0]
    assert declared == ['bag', 'rate', 'loop', 'camera', 'viewer']
    for name in [*declared, 'bundle', 'camera_pose']:
        assert f'`{name}`' in section, name


def test_the_description_is_made_where_launch_is_installed(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a warning: what is deprecated disappears one day. A wrong rate is one line."""
    pytest.importorskip('launch.actions', reason='launch comes with a ROS 2 installation')
    pytest.importorskip('launch_ros.actions', reason='launch_ros comes with a ROS 2 installation')
    packages = pytest.importorskip('ament_index_python.packages')
    monkeypatch.setattr(packages, 'get_package_share_directory', lambda name: str(ROOT))
    namespace: dict[str, Any] = {'__file__': str(ROOT / 'launch' / 'replay.launch.py')}
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        exec(compile(SOURCE, 'replay.launch.py', 'exec'), namespace)
        assert namespace['generate_launch_description']().entities
    assert namespace['_speed']('0.5') == '0.5'
    for text in ('fast', '0', '-1', 'nan', 'inf'):
        with pytest.raises(UserError, match=f"rate '?{text}'?: must be a number"):
            namespace['_speed'](text)
