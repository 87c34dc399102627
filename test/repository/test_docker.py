# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the Dockerfiles take for granted about this repository; no image is built here."""

from __future__ import annotations

import ast
import fnmatch
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from deltaworld_ros.node.parameter_table import PARAMETERS

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = ['docker/Dockerfile', 'docker/jetson.Dockerfile']


def instructions(path: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile in their order, lines joined."""
    text = re.sub(r'^#.*\n', '', (ROOT / path).read_text(encoding='utf-8'), flags=re.MULTILINE)
    lines = text.replace('\\\n', ' ').splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def copied(path: str) -> list[str]:
    return [source for name, value in instructions(path) if name == 'COPY'
            for source in shlex.split(value)[:-1]]


def extras() -> set[str]:
    tree = ast.parse((ROOT / 'setup.py').read_text(encoding='utf-8'))
    found, = (word.value for node in ast.walk(tree) if isinstance(node, ast.Call)
              for word in node.keywords if word.arg == 'extras_require')
    assert isinstance(found, ast.Dict)
    return {key.value for key in found.keys if isinstance(key, ast.Constant)}


@pytest.mark.parametrize('path', DOCKERFILES)
def test_every_copied_path_exists_and_reaches_the_builder(path: str):
    rules = (ROOT / '.dockerignore').read_text(encoding='utf-8').splitlines()
    let_in = [rule[1:] for rule in rules if rule.startswith('!')]
    sources = copied(path)
    assert 'deltaworld_ros' in sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source.split('/')[0], rule) for rule in let_in), source
        tracked = subprocess.run(['git', 'ls-files', source], cwd=ROOT, text=True,
                                 capture_output=True, check=False)
        assert tracked.returncode or tracked.stdout, f'{source} is in no checkout'


@pytest.mark.parametrize('path', DOCKERFILES)
def test_what_setup_py_packages_is_copied(path: str):
    text = (ROOT / 'setup.py').read_text(encoding='utf-8')
    for folder in set(re.findall(r"glob\('(\w+)/", text)) | {
            'resource', 'deltaworld_ros'}:
        assert folder in copied(path)


@pytest.mark.parametrize('path', DOCKERFILES)
def test_the_image_has_the_ros_that_the_readme_names(path: str):
    text = ' '.join(value for name, value in instructions(path) if name in ('FROM', 'ARG'))
    assert 'ros:jazzy-' in text
    assert 'ROS 2 workspace (Jazzy or newer)' in (ROOT / 'README.md').read_text(encoding='utf-8')
    assert '/opt/ros/jazzy/' in (ROOT / 'docker/entrypoint.sh').read_text(encoding='utf-8')


def test_the_extra_exists():
    named = re.findall(r"'\[(\w+)\]'", (ROOT / 'docker/install.sh').read_text(encoding='utf-8'))
    assert named == ['tensorrt'] and set(named) <= extras()


@pytest.mark.parametrize('path', DOCKERFILES)
def test_the_node_starts_with_parameters_that_it_has(path: str):
    command = ast.literal_eval(dict(instructions(path))['CMD'])
    assert command[0] == 'forecast_node'
    assert "'forecast_node = " in (ROOT / 'setup.py').read_text(encoding='utf-8')
    assert (ROOT / command[command.index('--params-file') + 1]).is_file()
    assert command[-1].split(':=')[0] in {row.name for row in PARAMETERS}


@pytest.mark.parametrize('path', DOCKERFILES)
def test_the_documented_commands_name_the_file(path: str):
    for place in (path, 'docs/install.md'):
        assert f'docker build --file {path} ' in (ROOT / place).read_text(encoding='utf-8')


@pytest.mark.parametrize('script', ['docker/install.sh', 'docker/entrypoint.sh'])
def test_scripts_are_valid_and_executable(script: str):
    assert (ROOT / script).stat().st_mode & 0o111
    subprocess.run(['bash', '-n', ROOT / script], check=True)


def test_entrypoint_hands_the_arguments_on():
    run = subprocess.run([ROOT / 'docker/entrypoint.sh', 'printf', '%s|', 'one', 'two words'],
                         capture_output=True, text=True, check=True)
    assert run.stdout == 'one|two words|'
