# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Keep files in a folder of the user's cache that nobody else can have written.

The folder is the user's alone, and every file begins with a keyed hash of its name and content, so
that a file from elsewhere, a bundle's too, is never taken for one of these.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

_HASH_BYTES = hashlib.sha256().digest_size
_KEY_NAME = 'key'


class AlteredFile(Exception):
    """A file that was not written there by `keep`, or was damaged since."""


def cache_folder(name: str) -> Path:
    """Return a folder of the user's cache: `$XDG_CACHE_HOME/deltaworld_ros/<name>`."""
    base = os.environ.get('XDG_CACHE_HOME')
    return Path(base or os.path.expanduser('~/.cache')) / 'deltaworld_ros' / name


def kept(path: Path) -> bytes:
    """
    Return what `keep` wrote at `path`.

    Raise `AlteredFile` for anything else, and OSError where there is nothing or the folder is not
    the user's alone.
    """
    with _private_folder(path.parent) as folder:
        key = _key(folder)
        data = _read(folder, path.name)
    found, content = data[:_HASH_BYTES], data[_HASH_BYTES:]
    if not hmac.compare_digest(found, _keyed_hash(key, path.name, content)):
        raise AlteredFile('damaged in the cache, or not written by this user')
    return content


def keep(path: Path, content: bytes) -> None:
    """Write a file that others see whole or not at all; raise OSError where it cannot be kept."""
    path.parent.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(mode=0o700)
    with _private_folder(path.parent) as folder:
        _write(folder, path.name, _keyed_hash(_key(folder), path.name, content) + content)


@contextlib.contextmanager
def _private_folder(path: Path) -> Iterator[int]:
    """Yield the descriptor of a folder that nobody else can write."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(folder)
        _check_owner(status, path)
        if status.st_mode & 0o077:
            os.fchmod(folder, 0o700)
        yield folder
    finally:
        os.close(folder)


def _key(folder: int) -> bytes:
    """Return the key of a folder, made at first use; it never leaves it."""
    with contextlib.suppress(FileNotFoundError):
        return _read(folder, _KEY_NAME)
    name = _write_aside(folder, _KEY_NAME, secrets.token_bytes(_HASH_BYTES))
    try:
        # Unlike a rename this keeps the key that another process has just made.
        with contextlib.suppress(FileExistsError):
            os.link(name, _KEY_NAME, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    finally:
        os.unlink(name, dir_fd=folder)
    return _read(folder, _KEY_NAME)


def _keyed_hash(key: bytes, name: str, content: bytes) -> bytes:
    return hmac.digest(key, os.fsencode(name) + b'\0' + content, 'sha256')


def _read(folder: int, name: str) -> bytes:
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                     dir_fd=folder)
    with os.fdopen(handle, 'rb') as file:
        _check_owner(os.fstat(handle), name)
        data = file.read()
    if name == _KEY_NAME and len(data) != _HASH_BYTES:
        raise PermissionError(None, f'the key {name} has another length; delete it')
    return data


def _write(folder: int, name: str, data: bytes) -> None:
    aside = _write_aside(folder, name, data)
    try:
        os.replace(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(aside, dir_fd=folder)
        raise


def _write_aside(folder: int, name: str, data: bytes) -> str:
    """Write a new file of the user's alone and return its name."""
    aside = f'.{name}.{secrets.token_hex(8)}'
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                     0o600, dir_fd=folder)
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(aside, dir_fd=folder)
        raise
    return aside


def _check_owner(status: os.stat_result, name: object) -> None:
    """Raise PermissionError for what another user owns or what is no file or folder."""
    if status.st_uid != os.geteuid():
        raise PermissionError(None, f'{name} belongs to another user')
    if not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
        raise PermissionError(None, f'{name} is no regular file')
    if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
        raise PermissionError(None, f'{name} can be read by other users; delete it')
