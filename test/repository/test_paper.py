# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What docs/paper.md names is there: files, commands with their options, recipes and stages."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from deltaworld_ros.cli import app
from deltaworld_training.cli import app as training_app
from deltaworld_training.ladder.rows import ROWS
from deltaworld_training.runs.recipe import RECIPES, load_recipe

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / 'docs' / 'paper.md').read_text(encoding='utf-8')
CODE = re.findall(r'`([^`\n]+)`', TEXT)
COMMANDS = sorted({code for code in CODE if code.startswith('deltaworld ')})
# Files are named from the repository's root or from that of a package.
FOLDERS = (ROOT, ROOT / 'deltaworld_ros', ROOT / 'training' / 'deltaworld_training')


def section(title: str) -> list[str]:
    """Return the first cells of a section's table, without its head."""
    [part] = [part for part in TEXT.split('\n## ') if part.startswith(title)]
    return [line.split('|')[1].strip() for line in part.splitlines() if line.startswith('| ')][1:]


def test_every_file_is_there() -> None:
    paths = {code for code in CODE
             if '/' in code and ' ' not in code and not code.startswith(('~', '/', 'runs/'))}
    assert len(paths) > 20
    missing = [path for path in paths if not any((folder / path).exists() for folder in FOLDERS)]
    assert not missing


@pytest.mark.parametrize('text', COMMANDS)
def test_every_command_takes_its_options(text: str) -> None:
    words = shlex.split(text)[1:]
    training = words[0] == 'train'
    command: Any = typer.main.get_command(training_app if training else app)
    words = words[1:] if training else words
    while hasattr(command, 'commands'):
        assert words and words[0] in command.commands, text
        command, words = command.commands[words[0]], words[1:]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word.split('=')[0] for word in words if word.startswith('--')} <= known, text


def test_every_recipe_and_stage_is_there() -> None:
    for text in COMMANDS:
        recipe = re.search(r'--recipe (\S+)', text)
        stage = re.search(r'--stage (\S+)', text)
        if recipe:
            assert load_recipe(recipe[1]).stages
        if stage:
            owners = [recipe[1]] if recipe else [
                path.stem for path in RECIPES.glob('*.yaml') if path.stem != 'finetune-bag']
            assert any(stage[1] in load_recipe(owner).stages for owner in owners), text


def test_nothing_of_the_paper_is_left_out() -> None:
    tables = {cell.split(',')[0].split(':')[0] for cell in section('Tables')}
    assert tables == {'1', '2', '3', 'A', 'B', 'C', 'D'}
    figures = {name for cell in section('Figures') for name in re.findall(r'\b[1-6A-F]\b', cell)}
    assert figures == set('123456ABCDEF')
    method = ' '.join(section('Method'))
    for name in ('3.1', '3.2', '3.3', '3.4', '4.1', '4.3'):
        assert name in method, name
    rows = {number for one in re.findall(r'rows? ((?:\(\d\)(?:, | and | to )?)+)', TEXT)
            for number in re.findall(r'\((\d)\)', one)}
    assert rows <= {row.title[1] for row in ROWS}
