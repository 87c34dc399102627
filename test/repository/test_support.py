# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What tests share is made once, and tracing stops and goes on where it should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import once as sharing
from support.once import once

TEST = Path(__file__).resolve().parents[1]


def test_processes_share_what_one_of_them_made(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sharing.VARIABLE, str(tmp_path))
    program = (
        'import os, time\n'
        'from support.once import once\n'
        'def make(folder):\n'
        '    time.sleep(0.3)\n'
        '    (folder / str(os.getpid())).touch()\n'
        'print(*(path.name for path in once("one", make).iterdir()))\n')
    runs = [subprocess.Popen([sys.executable, '-c', program], stdout=subprocess.PIPE, text=True,
                             env=os.environ | {'PYTHONPATH': str(TEST)}) for _ in range(2)]
    first, second = (run.communicate(timeout=60)[0] for run in runs)
    assert first == second and int(first) in [run.pid for run in runs]


def test_what_failed_half_way_is_made_anew(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sharing.VARIABLE, str(tmp_path))

    def fail(folder: Path) -> None:
        (folder / 'half').touch()
        raise ValueError
    with pytest.raises(ValueError):
        once('one', fail)
    assert not list(once('one', lambda folder: None).iterdir())


def test_tracing_stops_here_and_in_new_processes(tmp_path: Path) -> None:
    """Nested blocks end at the outer one's end, and what is called later counts again."""
    (tmp_path / 'measured.py').write_text(
        'import subprocess, sys\n'
        'from support.tracing import untraced\n'
        'with untraced():\n'
        '    with untraced():\n'
        '        inner = 1\n'
        '    outer = 2\n'
        '    subprocess.run([sys.executable, "child.py"], check=True)\n'
        'after = 3\n')
    (tmp_path / 'child.py').write_text('child = 4\n')
    (tmp_path / 'settings').write_text(
        f'[run]\nparallel = true\npatch = subprocess\nsource = {tmp_path}\n')
    for arguments in (['run', 'measured.py'], ['combine', '--quiet'],
                      ['report', '--show-missing']):
        done = subprocess.run(
            [sys.executable, '-m', 'coverage', arguments[0], '--rcfile=settings', *arguments[1:]],
            cwd=tmp_path, env=os.environ | {'PYTHONPATH': str(TEST)}, capture_output=True,
            text=True, check=True, timeout=60)
    [line] = [line for line in done.stdout.splitlines() if line.startswith('measured.py')]
    assert line.split(maxsplit=4)[4] == '4-8'
    assert 'child.py' not in done.stdout or '0%' in done.stdout
