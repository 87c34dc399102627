# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A misspelt launch argument is refused, and only by the launch file that was asked for."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from deltaworld_ros.errors import UserError
from deltaworld_ros.node.launch_arguments import refuse_unknown_arguments

LAUNCH = Path(__file__).resolve().parents[2] / 'launch'
FILE = '/ws/install/share/deltaworld_ros/launch/forecast.launch.py'
NAMES = ['image', 'camera_info', 'bundle']


@pytest.mark.parametrize(('words', 'message'), [
    (['launch', 'deltaworld_ros', 'forecast.launch.py', 'imge:=/a'],
     'launch argument imge is unknown; do you mean image?'),
    (['launch', FILE, 'image:=/a', 'Bundle:=x'],
     'launch argument Bundle is unknown; do you mean bundle?'),
    (['launch', 'deltaworld_ros', 'forecast.launch.py', 'xyz:='],
     'launch argument xyz is unknown; accepted: image, camera_info, bundle')])
def test_unknown_arguments_are_named(words: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        refuse_unknown_arguments(FILE, NAMES, words)
    assert str(caught.value) == message


@pytest.mark.parametrize('words', [
    ['launch', 'deltaworld_ros', 'forecast.launch.py', 'image:=/a', 'bundle:=b:=c'],
    ['launch', 'deltaworld_ros', 'forecast.launch.py', '--show-args'],
    # Another file includes this one.
    ['launch', 'my_robot', 'bringup.launch.py', 'imge:=/a'], []])
def test_others_are_let_pass(words: list[str]) -> None:
    refuse_unknown_arguments(FILE, NAMES, words)


@pytest.mark.parametrize('file', sorted(LAUNCH.glob('*.py')), ids=lambda path: path.name)
def test_every_launch_file_asks_first(file: Path) -> None:
    """In an action, whose error is one line of `ros2 launch`; before anything is started."""
    tree = ast.parse(file.read_text())
    described = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
                     and node.name == 'generate_launch_description')
    raised = [ast.unparse(node) for node in ast.walk(described) if isinstance(node, ast.Call)
              and ast.unparse(node.func) == 'refuse_unknown_arguments']
    actions = [node for node in ast.walk(described) if isinstance(node, ast.Call)
               and ast.unparse(node.func) == 'OpaqueFunction']
    assert len(raised) == 1
    asking = [action for action in actions
              if f'lambda context: {raised[0]}' in ast.unparse(action)]
    assert len(asking) == 1
    returned = described.body[-1]
    assert isinstance(returned, ast.Return) and isinstance(returned.value, ast.Call)
    entities = returned.value.args[0]
    assert isinstance(entities, ast.List)
    assert entities.elts[0] is asking[0]
