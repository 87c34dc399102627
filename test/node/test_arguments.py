# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is wrong on the command line of a node is told; rclpy alone would let it pass."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deltaworld_ros.node.arguments import answer
from deltaworld_ros.node.governor_parameters import GOVERNOR_PARAMETERS
from deltaworld_ros.node.parameter_files import foreign_parameter_files
from deltaworld_ros.node.parameter_table import PARAMETERS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize('words', [['--help'], ['-h', '--ros-args', '-p', 'seed:=1'],
                                   ['--ros-args', '-p', 'seed:=1', '--', '--help']])
def test_help_names_every_parameter(capsys, words: list[str]) -> None:
    assert answer('forecast_node', 'Summary.', PARAMETERS, words) == 0
    printed = capsys.readouterr().out
    assert printed.startswith('usage: forecast_node [--ros-args') and 'Summary.' in printed
    for row in PARAMETERS:
        assert f'  {row.name}: {row.type_name}, {row.accepted}; default ' in printed
    assert max(map(len, printed.splitlines())) < 250


@pytest.mark.parametrize('words', [['--verbose'], ['bundle:=mine'],
                                   ['--ros-args', '-p', 'seed:=1', '--', '--verbose']])
def test_words_that_are_no_ros_arguments_are_one_line(capsys, words: list[str]) -> None:
    assert answer('speed_governor', '', GOVERNOR_PARAMETERS, words) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f'speed_governor: unknown argument {words[-1]!r}; parameters and ')


def test_ros_arguments_let_the_node_start() -> None:
    words = ['--ros-args', '--log-level', 'debug', '-p', 'bundle:=--help', '-r', 'image:=/a']
    assert answer('forecast_node', '', PARAMETERS, words) is None
    assert answer('forecast_node', '', PARAMETERS, []) is None


@pytest.mark.parametrize('module', ['start', 'forecast_node', 'speed_governor'])
def test_programs_print_their_help_and_end(module: str) -> None:
    pytest.importorskip('rclpy')
    done = subprocess.run(
        [sys.executable, '-m', f'deltaworld_ros.node.{module}', '--help'], timeout=120,
        capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith('usage: ')


@pytest.mark.parametrize(('text', 'named'), [
    ('/forecaster:\n  ros__parameters:\n    seed: 1\n', '/forecaster'),
    ('forecaster:\n  ros__parameters: {seed: 1}\nother:\n  ros__parameters: {seed: 1}\n',
     '/forecaster, /other'),
    ('robot:\n  forecast:\n    ros__parameters:\n      seed: 1\n', '/robot/forecast'),
    ('/*/forecast:\n  ros__parameters:\n    seed: 1\n', '/*/forecast')])
def test_files_for_other_nodes_are_one_line(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / 'a.yaml'
    file.write_text(text)
    words = ['--ros-args', '--params-file', str(file)]
    [line] = foreign_parameter_files('/forecast', {}, words)
    assert line == (f'parameter file {file} is ignored: it is for {named}, and this node is '
                    '/forecast; /** is for any node')


@pytest.mark.parametrize('name', ['/**', '/forecast', 'forecast', '/*', '/**/forecast'])
def test_files_for_this_node_are_no_line(tmp_path: Path, name: str) -> None:
    file = tmp_path / 'a.yaml'
    file.write_text(f'{name}:\n  ros__parameters:\n    seed: 1\n    a: {{b: 2}}\n'
                    'other:\n  ros__parameters: {seed: 2}\n')
    words = ['--ros-args', '--params-file', str(file)]
    assert foreign_parameter_files('/forecast', {'seed': 1, 'a.b': 2}, words) == []
    # rclpy knows fewer patterns than rcl: what did not reach the node is told.
    assert len(foreign_parameter_files('/forecast', {'seed': 1}, words)) == 1


def test_node_tells_of_a_file_that_is_for_another(tmp_path: Path) -> None:
    pytest.importorskip('rclpy')
    file = tmp_path / 'a.yaml'
    file.write_text('/forecaster:\n  ros__parameters:\n    seed: 1\n')
    with subprocess.Popen(
            [sys.executable, '-m', 'deltaworld_ros.node.start', '--ros-args', '--params-file',
             str(file)], text=True, stderr=subprocess.PIPE,
            env={**os.environ, 'PYTHONPATH': str(ROOT)}) as process:
        assert process.stderr is not None
        line = next((line for line in process.stderr if 'parameter file' in line), '')
        process.send_signal(signal.SIGINT)
        process.stderr.read()
    assert '[WARN]' in line
    assert 'is ignored: it is for /forecaster, and this node is /forecast; /** is' in line
