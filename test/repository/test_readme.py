# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the README and the docs show is what the code says."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from deltaworld_ros.cli import app
from deltaworld_ros.node.parameter_table import PARAMETERS

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', ROOT / 'training/README.md',
         *sorted((ROOT / 'docs').glob('*.md')))


def test_every_parameter_is_in_the_table_with_its_default() -> None:
    """The table is the one that the parameter table prints."""
    table = (ROOT / 'docs/parameters.md').read_text(encoding='utf-8')
    rows = dict(re.findall(r'^\| `(\w+)` \| \w+ \| `([^`]*)` \|', table, re.MULTILINE))
    assert set(rows) == {row.name for row in PARAMETERS}
    for row in PARAMETERS:
        default = str(row.default).lower() if isinstance(row.default, bool) else str(row.default)
        assert rows[row.name] == default, row.name


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r'^#+ (.+)$', page.read_text(encoding='utf-8'), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}


def test_links_lead_to_files_and_headings() -> None:
    """No relative link or picture of the README or the docs is broken."""
    for page in PAGES:
        text = page.read_text(encoding='utf-8')
        for target, anchor in re.findall(r'\]\(([^)#]*)(?:#([^)]+))?\)', text):
            if target.startswith('http'):
                continue
            file = page.parent / target if target else page
            assert file.exists(), f'{page.name}: {target}'
            if anchor:
                assert anchor in anchors(file), f'{page.name}: {target}#{anchor}'


def written_commands(page: Path) -> Iterator[str]:
    """Yield the `deltaworld` commands of a page, in its text and in its blocks of code."""
    text = page.read_text(encoding='utf-8')
    blocks = re.findall(r'^```\w*\n(.*?)^```', text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace('\\\n', ' ').splitlines()]
    for code in [*lines, *re.findall(r'`([^`\n]+)`', text)]:
        found = re.match(r'(?:\S*/)?deltaworld (.+?)(?:\s+#|\s*[|&;]|$)', code)
        if found:
            yield found[1]


def test_commands_are_written_as_they_are_called() -> None:
    """Every command and option of `deltaworld` that a page names is one."""
    count = 0
    for page in PAGES:
        for written in written_commands(page):
            command: Any = typer.main.get_command(app)
            words = [word.strip('[],') for word in written.split()]
            while words and hasattr(command, 'commands') and words[0][0] not in '.<':
                assert words[0] in command.commands, f'{page.name}: deltaworld {written}'
                command = command.commands[words.pop(0)]
            options = {name for option in command.params for name in option.opts
                       + option.secondary_opts} | {'--help'}
            if command.context_settings.get('ignore_unknown_options'):
                continue   # Lightning reads the rest
            for word in words:
                option = word.partition('=')[0]
                if option.startswith('--'):
                    assert option in options, f'{page.name}: deltaworld {written}: {option}'
            count += 1
    assert count > 50


def test_scripts_modules_and_targets_exist() -> None:
    """Every script, module and make target of a command that a page names is there."""
    makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
    targets = set(re.findall(r'^([\w-]+):', makefile, re.MULTILINE))
    for page in PAGES:
        text = page.read_text(encoding='utf-8')
        for script in re.findall(r'\bpython3? ([\w/.-]+\.py)\b', text):
            assert (ROOT / script).is_file(), f'{page.name}: python {script}'
        for module in re.findall(r'\bpython3? -m (deltaworld[\w.]+)', text):
            assert importlib.util.find_spec(module), f'{page.name}: python -m {module}'
        for target in re.findall(r'`make ([a-z-]+)|^make ([a-z-]+)', text, re.MULTILINE):
            assert ''.join(target) in targets, f'{page.name}: make {"".join(target)}'
