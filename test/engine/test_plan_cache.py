# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The cache of engines: only what this user wrote there comes back."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from deltaworld_ros.engine.private_folder import AlteredFile, keep, kept
from deltaworld_ros.engine.tensorrt.plan_cache import cached_plan, engine_folder, plan_key


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return engine_folder()


def test_damaged_engine_is_built_anew_with_one_line(folder: Path) -> None:
    path = folder / 'a.engine'
    lines: list[str] = []
    assert cached_plan(path, lambda: b'plan', lines.append) == b'plan'
    data = path.read_bytes()
    for damage in (b'', data[:10], data[:-1], data[:-1] + b'x'):
        lines.clear()
        path.write_bytes(damage)
        assert cached_plan(path, lambda: b'plan', lines.append) == b'plan'
        assert len(lines) == 1 and 'damaged' in lines[0]
        assert path.read_bytes() == data


def test_what_others_laid_there_is_never_loaded(folder: Path) -> None:
    """A plain hash, as 0.1.0 wrote it, or the engine of another name, prove nothing."""
    path = folder / 'a.engine'
    keep(folder / 'b.engine', b'other')
    for planted in (hashlib.sha256(b'evil').digest() + b'evil',
                    (folder / 'b.engine').read_bytes()):
        path.write_bytes(planted)
        path.chmod(0o600)
        with pytest.raises(AlteredFile):
            kept(path)
        assert cached_plan(path, lambda: b'built', lambda line: None) == b'built'


def test_folder_and_files_are_the_users_alone(folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o777)
    folder.chmod(0o777)
    keep(folder / 'a.engine', b'plan')
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(entry.name for entry in folder.iterdir()) == ['a.engine', 'key']
    assert all(stat.S_IMODE(entry.stat().st_mode) == 0o600 for entry in folder.iterdir())
    assert len((folder / 'key').read_bytes()) == 32


def test_keys_differ(folder: Path, tmp_path: Path) -> None:
    keep(folder / 'a.engine', b'plan')
    keep(tmp_path / 'other' / 'a.engine', b'plan')
    assert (folder / 'a.engine').read_bytes() != (tmp_path / 'other' / 'a.engine').read_bytes()


@pytest.mark.parametrize('name', ['key', 'a.engine', ''])
def test_links_are_not_followed(folder: Path, tmp_path: Path, name: str) -> None:
    """Neither as the folder nor in it."""
    keep(folder / 'a.engine', b'plan')
    elsewhere = tmp_path / 'elsewhere'
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)
    before = elsewhere.read_bytes() if name else b''
    with pytest.raises(OSError):
        kept(folder / 'a.engine')
    lines: list[str] = []
    assert cached_plan(folder / 'a.engine', lambda: b'built', lines.append) == b'built'
    if name:
        assert elsewhere.read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason='gives files to another user')
@pytest.mark.parametrize('name', ['key', 'a.engine', ''])
def test_what_belongs_to_others_is_not_used(folder: Path, name: str) -> None:
    keep(folder / 'a.engine', b'plan')
    os.chown(folder / name, 12345, 12345)
    with pytest.raises(PermissionError, match='belongs to another user'):
        kept(folder / 'a.engine')
    lines: list[str] = []
    assert cached_plan(folder / 'a.engine', lambda: b'built', lines.append) == b'built'
    assert name == 'a.engine' or 'belongs to another user' in lines[-1]


def test_key_that_others_can_read_is_not_used(folder: Path) -> None:
    keep(folder / 'a.engine', b'plan')
    (folder / 'key').chmod(0o644)
    lines: list[str] = []
    assert cached_plan(folder / 'a.engine', lambda: b'built', lines.append) == b'built'
    assert 'key can be read by other users; delete it' in lines[-1]


def test_interrupted_write_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / 'a.engine'
    keep(path, b'first')

    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt
    monkeypatch.setattr('os.fsync', interrupt)
    with pytest.raises(KeyboardInterrupt):
        keep(path, b'second')
    assert kept(path) == b'first'
    assert sorted(entry.name for entry in folder.iterdir()) == ['a.engine', 'key']


def test_cache_that_cannot_be_written_costs_a_build(tmp_path: Path) -> None:
    (tmp_path / 'file').write_bytes(b'')
    lines: list[str] = []
    path = tmp_path / 'file' / 'a.engine'
    assert cached_plan(path, lambda: b'plan', lines.append) == b'plan'
    assert 'cannot be written' in lines[-1]


def test_key_is_of_every_part() -> None:
    parts = {'graph': 'a', 'library': 'tensorrt 10.3', 'capabilities': ['8.6'], 'shapes': '1'}
    keys = {plan_key(parts)} | {plan_key({**parts, name: 'other'}) for name in parts}
    assert len(keys) == 1 + len(parts)
