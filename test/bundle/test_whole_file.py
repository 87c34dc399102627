# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Results are written whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deltaworld_ros.bundle.whole_file import (
    check_new_folder,
    check_writable,
    whole_file,
    write_whole,
)
from deltaworld_ros.errors import UserError


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / 'a.json'
    write_whole(path, 'first')
    with pytest.raises(ZeroDivisionError), whole_file(path) as file:
        file.write('sec')
        raise ZeroDivisionError
    assert path.read_text() == 'first' and list(tmp_path.iterdir()) == [path]
    write_whole(path, 'second')
    assert path.read_text() == 'second' and list(tmp_path.iterdir()) == [path]


def test_full_disk_leaves_no_file(tmp_path: Path) -> None:
    """A limit on the size of files fails in the same place as a full disk."""
    program = ('import resource, sys\n'
               'from pathlib import Path\n'
               'from deltaworld_ros.bundle.whole_file import write_whole\n'
               'from deltaworld_ros.errors import UserError\n'
               'import signal\n'
               'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
               'resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n'
               'try:\n'
               '    write_whole(Path(sys.argv[1]), "x" * 100_000)\n'
               'except UserError as error:\n'
               '    print(error)\n')
    path = tmp_path / 'a.json'
    done = subprocess.run([sys.executable, '-c', program, str(path)], capture_output=True,
                          text=True, timeout=60, check=True)
    assert 'a.json: cannot be written: File too large' in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('path', ['none/a.json', 'file/a.json', '.', 'x' * 300])
def test_places_that_cannot_be_written_are_one_line(tmp_path: Path, path: str) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot be written') as caught:
        write_whole(tmp_path / path, 'text')
    assert '\n' not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == [tmp_path / 'file']


@pytest.mark.parametrize('path', ['file/a.json', '.', 'x' * 300])
def test_places_that_cannot_be_written_are_told_before(tmp_path: Path, path: str) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot be written') as caught:
        check_writable(tmp_path / path)
    assert '\n' not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == [tmp_path / 'file']


def test_check_leaves_what_is_there(tmp_path: Path) -> None:
    write_whole(tmp_path / 'a.json', 'text')
    check_writable(tmp_path / 'a.json')
    check_writable(tmp_path / 'new' / 'b.json')
    assert (tmp_path / 'a.json').read_text() == 'text'
    assert sorted(tmp_path.iterdir()) == [tmp_path / 'a.json', tmp_path / 'new']
    assert list((tmp_path / 'new').iterdir()) == []
    os.mkfifo(tmp_path / 'pipe')
    check_writable(tmp_path / 'pipe')   # would wait for a reader if it were opened
    check_writable(Path('/dev/null'))


def test_new_folder(tmp_path: Path) -> None:
    check_new_folder(tmp_path / 'new' / 'er')
    assert not (tmp_path / 'new').exists()
    (tmp_path / 'empty').mkdir()
    check_new_folder(tmp_path / 'empty')
    assert list((tmp_path / 'empty').iterdir()) == []
    with pytest.raises(UserError, match='is not empty; name a new folder'):
        check_new_folder(tmp_path)
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='file: cannot be written'):
        check_new_folder(tmp_path / 'file')


def test_links_and_pipes_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / 'link').symlink_to('target')
    write_whole(tmp_path / 'link', 'text')
    assert (tmp_path / 'link').is_symlink() and (tmp_path / 'target').read_text() == 'text'
    os.mkfifo(tmp_path / 'pipe')
    reader = os.open(tmp_path / 'pipe', os.O_RDONLY | os.O_NONBLOCK)
    write_whole(tmp_path / 'pipe', 'text')
    assert os.read(reader, 100) == b'text'
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / 'pipe').stat().st_mode)
