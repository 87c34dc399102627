# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The table of parameters, their ranges and the parameter file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deltaworld_ros.errors import UserError
from deltaworld_ros.node.parameter_table import PARAMETERS, render_markdown

ROOT = Path(__file__).resolve().parents[2]


def test_parameter_table_checks_types_and_ranges() -> None:
    rows = {row.name: row for row in PARAMETERS}
    assert len(rows) == len(PARAMETERS)
    for row in PARAMETERS:
        row.check(row.default)
    for name, value, accepted in (
            ('output_width', 15, 'accepted: integer, 16 to 1920'),
            ('output_width', 320.0, 'integer, 16 to 1920'),
            ('fit', 'stretch', 'accepted: string, crop | squash'),
            ('max_gap', float('nan'), 'accepted: double, 0.05 to 60.0'),
            ('autostart', 1, 'accepted: bool, true | false'),
            ('bundle', 3, 'accepted: string, any text')):
        with pytest.raises(UserError, match=f'parameter {name} is ') as caught:
            rows[name].check(value)
        assert accepted in str(caught.value).replace('\\', '')


def test_the_table_renders_without_rclpy() -> None:
    program = ('import sys; sys.modules["rclpy"] = None; import runpy; '
               'runpy.run_module("deltaworld_ros.node.parameter_table", run_name="__main__")')
    result = subprocess.run([sys.executable, '-c', program], cwd=ROOT, capture_output=True,
                            text=True, check=True)
    assert result.stdout == render_markdown()
    assert result.stdout.count('\n') == len(PARAMETERS) + 2
    assert '| `fit` | string | `crop` | crop, squash | read-only |' in result.stdout


def test_the_parameter_file_holds_the_defaults() -> None:
    """The file that launch loads documents every parameter with the value that it has anyway."""
    content = yaml.safe_load((ROOT / 'config' / 'forecast.yaml').read_text())
    assert content == {'/**': {'ros__parameters': {
        row.name: row.default for row in PARAMETERS if row.name != 'autostart'}}}
