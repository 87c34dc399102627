# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A robot's software calls nobody, and writes nothing into a home that it was not asked to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in an empty home, without the variable that tests are run with."""
    home.mkdir()
    environment = {name: value for name, value in os.environ.items()
                   if name != 'ORT_DISABLE_TELEMETRY' and not name.startswith('XDG_')}
    return subprocess.run(
        [sys.executable, *command], env={**environment, 'HOME': str(home)}, timeout=240,
        capture_output=True, text=True, check=False)


def test_engine_leaves_an_empty_home_empty(tiny_bundle: Path, tmp_path: Path) -> None:
    """ONNX Runtime would write the id of a device and a database of events, a moment later."""
    program = ('import sys, time\n'
               'from deltaworld_ros.bundle import load_bundle\n'
               'from deltaworld_ros.engine import load_engine\n'
               'load_engine(load_bundle(sys.argv[1]), "onnxruntime-cpu", 1)\n'
               'time.sleep(1)\n')
    done = run(tmp_path / 'home', '-c', program, str(tiny_bundle))
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / 'home').rglob('*')) == []


@pytest.mark.parametrize('package', ['deltaworld_ros', 'deltaworld_training'])
def test_packages_switch_it_off_before_anything_else(package: str, tmp_path: Path) -> None:
    done = run(tmp_path / 'home', '-c', f'import {package}, os, sys\n'
               'print(os.environ["ORT_DISABLE_TELEMETRY"], "onnxruntime" in sys.modules)')
    assert done.stdout.split() == ['1', 'False'], done.stderr


@pytest.mark.parametrize('file', ['docker/Dockerfile', 'docker/jetson.Dockerfile', 'Makefile'])
def test_what_starts_them_switches_it_off_too(file: str) -> None:
    assert re.search(r'ORT_DISABLE_TELEMETRY ?:?= ?1\b', (ROOT / file).read_text())
