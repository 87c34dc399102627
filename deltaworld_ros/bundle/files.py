# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Open files that others named: regular ones inside their folder, nothing that could block."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from deltaworld_ros.errors import UserError

# A protocol buffer, and so an ONNX graph, is smaller than this.
MAX_HELD_BYTES = 1 << 31
_KINDS = (
    (stat.S_ISDIR, 'a folder'), (stat.S_ISFIFO, 'a pipe'), (stat.S_ISCHR, 'a device'),
    (stat.S_ISBLK, 'a device'), (stat.S_ISSOCK, 'a socket'))


def open_regular(path: Path, inside: bool = True) -> int:
    """
    Open a file for reading and return its descriptor; the caller closes it.

    Raise `UserError` where it is missing, no regular file, or, with `inside`, a link that leads
    out of its folder.
    """
    try:
        target = path.resolve(strict=True)
        if inside and target.parent != path.parent.resolve():
            raise UserError(f'{path}: is a link that leads out of the bundle; put the file itself '
                            'there')
        # Asked before it is opened: opening alone can block, or make a device act.
        _check_regular(path, os.stat(target, follow_symlinks=False).st_mode)
        handle = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise UserError(f'{path}: no such file') from None
    except (OSError, RuntimeError) as error:   # RuntimeError: links in a circle, before 3.13
        reason = getattr(error, 'strerror', None) or error
        raise UserError(f'{path}: cannot be read: {reason}') from None
    try:
        _check_regular(path, os.fstat(handle).st_mode)
    except UserError:
        os.close(handle)
        raise
    return handle


def read_bytes(path: Path, most: int = MAX_HELD_BYTES, inside: bool = True) -> bytes:
    """Read a file that `open_regular` opens; raise `UserError` for more bytes than `most`."""
    with os.fdopen(open_regular(path, inside), 'rb') as stream:
        try:
            content = stream.read(most + 1)
        except OSError as error:
            raise UserError(f'{path}: cannot be read: {error.strerror}') from None
    if len(content) > most:
        raise UserError(f'{path}: larger than {most} bytes, which is more than such a file has')
    return content


def digest(path: Path) -> str:
    """Return the sha256 of a file that `open_regular` opens as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with os.fdopen(open_regular(path), 'rb') as stream:
        try:
            while block := stream.read(1 << 20):
                digest.update(block)
        except OSError as error:
            raise UserError(f'{path}: cannot be read: {error.strerror}') from None
    return digest.hexdigest()


def _check_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS if test(mode)), 'no file')
        raise UserError(f'{path}: is {kind}; must be a regular file')
