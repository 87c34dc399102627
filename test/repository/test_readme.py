# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the README shows is what the code says."""

import re
from pathlib import Path

from deltaworld_ros.cli import app
from deltaworld_ros.node.parameter_table import PARAMETERS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / 'README.md').read_text(encoding='utf-8')


def test_every_parameter_is_in_the_table_with_its_default() -> None:
    """The table is the one that the parameter table prints."""
    rows = dict(re.findall(r'^\| `(\w+)` \| \w+ \| `([^`]*)` \|', README, re.MULTILINE))
    assert set(rows) == {row.name for row in PARAMETERS}
    for row in PARAMETERS:
        default = str(row.default).lower() if isinstance(row.default, bool) else str(row.default)
        assert rows[row.name] == default, row.name


def test_links_lead_to_files() -> None:
    """No relative link or picture of the README or the docs is broken."""
    for page in (ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')):
        for target in re.findall(r'\]\(([^)#]+)', page.read_text(encoding='utf-8')):
            if not target.startswith('http'):
                assert (page.parent / target).exists(), f'{page.name}: {target}'


def test_commands_exist() -> None:
    """Every `deltaworld <command>` that the README names is one."""
    known = {command.name or command.callback.__name__ for command in app.registered_commands
             if command.callback} | {group.name for group in app.registered_groups}
    named = set(re.findall(r'`?deltaworld ([a-z]+)', README))
    assert named and named <= known, named - known
