# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Outputs that cannot be written are told before the work whose results would be lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.bags import write_drive
from support.tiny_bundle import fading_frames

from deltaworld_ros import cli
from deltaworld_ros.bundle import load_bundle


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a command that must end before its work; give the one line that it says."""
    def call(*arguments: object) -> str:
        for work in ('evaluate.bag_run.score_bags', 'evaluate.demo.run_demo',
                     'engine.load_engine', 'export.convert.read_networks',
                     'export.reexport.find_networks'):
            monkeypatch.setattr(f'deltaworld_ros.{work}', lambda *_, **__: pytest.fail('worked'))
        monkeypatch.setattr(sys, 'argv', ['deltaworld', *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 1
        [line] = capsys.readouterr().err.splitlines()
        return line
    return call


@pytest.fixture
def drive(tiny_bundle: Path, tmp_path: Path) -> Path:
    frames = fading_frames(load_bundle(tiny_bundle).manifest, 4)
    return write_drive(tmp_path / 'drive', frames, interval=0.2, focal_length=64.0)


@pytest.mark.parametrize('option', ['--json', '--json-lines', '--markdown'])
def test_file_that_is_a_folder(refused, tiny_bundle, drive, tmp_path, option: str):
    line = refused('evaluate', drive, '--bundle', tiny_bundle, option, tmp_path)
    assert line == f'deltaworld: {tmp_path}: cannot be written: it is a folder, not a file'


def test_report_in_a_file(refused, tiny_bundle, drive, tmp_path):
    (tmp_path / 'file').write_text('')
    line = refused('evaluate', drive, '--bundle', tiny_bundle, '--report', tmp_path / 'file')
    assert line == (f'deltaworld: {tmp_path}/file/report.html: cannot be written: '
                    f'{tmp_path}/file is no folder')


def test_bags_of_forecasts_that_are_there_or_would_be_one(refused, tiny_bundle, drive, tmp_path):
    arguments = '--bundle', tiny_bundle, '--write-bag', tmp_path / 'out'
    assert 'drive_forecasts: would be written for 2 recordings of that name' in refused(
        'evaluate', drive, drive, *arguments)
    (tmp_path / 'out' / 'drive_forecasts').mkdir()
    assert 'drive_forecasts: is there already; give --write-bag another folder' in refused(
        'evaluate', drive, *arguments)


def test_other_commands(refused, tmp_path):
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'file').write_text('')
    for command in (('demo',), ('benchmark',), ('bundle', 'verify'), ('bundle', 'info')):
        assert 'it is a folder' in refused(*command, '--json', tmp_path)
    convert = [f'--{name}=x' for name in ('predictor', 'backbone', 'seg-head', 'depth-head')]
    for command in (['convert', *convert], ['export', 'x']):
        line = refused(*command, '--output', tmp_path / 'full')
        assert line == f'deltaworld: {tmp_path}/full: is not empty; name a new folder'
