# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM end the command in one line, while it loads and while it works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SIGNALS = pytest.mark.parametrize(
    ('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, '-c', code, *arguments], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, 'PYTHONPATH': str(ROOT)})


@SIGNALS
def test_while_it_loads(number: signal.Signals, code: int) -> None:
    # Loading does not end here.
    process = start(
        'import sys, time, types\n'
        'class Slow(types.ModuleType):\n'
        '    def __getattr__(self, name):\n'
        '        print("loading", flush=True)\n'
        '        time.sleep(60)\n'
        'sys.modules["deltaworld_ros.cli"] = Slow("deltaworld_ros.cli")\n'
        'from deltaworld_ros.start import main\n'
        'main()', 'evaluate')
    assert process.stdout is not None
    assert process.stdout.readline() == 'loading\n'
    process.send_signal(number)
    assert process.wait(30) == code
    assert process.stderr is not None
    assert process.stderr.read() == 'deltaworld: interrupted while it loaded\n'
    process.communicate()


@SIGNALS
def test_while_it_works(
        number: signal.Signals, code: int, tiny_bundle: Path, tmp_path: Path) -> None:
    # The command waits for a list of bags that nobody writes.
    pipe = tmp_path / 'bags.txt'
    os.mkfifo(pipe)
    process = start('from deltaworld_ros.start import main\nmain()',
                    'evaluate', f'@{pipe}', '--bundle', str(tiny_bundle))
    deadline = time.monotonic() + 60
    while True:
        try:
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
    # Python sees a signal that comes between its last look and a read when the read ends.
    time.sleep(0.5)
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    os.close(writer)
    assert (process.returncode, error) == (code, 'deltaworld: interrupted\n')
