# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Write results so that others see a file whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from deltaworld_ros.errors import UserError


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """
    Yield a text file that takes the place of `path` once it is complete.

    On an error nothing is left of it, and what was there before stays. What is no regular file,
    such as /dev/stdout, is written as it is. Raise `UserError` where it cannot be written.
    """
    try:
        if path.exists() and not path.is_file():
            with path.open('w', encoding='utf-8') as file:
                yield file
            return
        target, aside = _target_and_aside(path)
        try:
            with aside.open('x', encoding='utf-8') as file:
                yield file
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f'{path}: cannot be written: {error.strerror or error}') from None


def write_whole(path: Path, text: str) -> None:
    """Write a text as `whole_file` does."""
    with whole_file(path) as file:
        file.write(text)


def check_writable(path: Path) -> None:
    """
    Raise `UserError` where `whole_file` could not write `path`, before long work and not after.

    Its folder is made. What is there already stays as it is.
    """
    try:
        with contextlib.suppress(FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True)
        if not path.parent.is_dir():
            raise UserError(f'{path}: cannot be written: {path.parent} is no folder')
        if path.is_dir():
            raise UserError(f'{path}: cannot be written: it is a folder, not a file')
        if path.exists() and not path.is_file():
            # Opened and closed, a pipe would come to its end.
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        _, aside = _target_and_aside(path)
        try:
            aside.touch(exist_ok=False)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f'{path}: cannot be written: {error.strerror or error}') from None


def check_new_folder(folder: Path) -> None:
    """
    Raise `UserError` where new files cannot be written to a folder, or it holds some already.

    A folder that is not there is not made.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UserError(f'{folder}: is not empty; name a new folder')
        check_writable(folder / 'file')
    except OSError as error:
        raise UserError(f'{folder}: cannot be written: {error.strerror or error}') from None
    finally:
        for one in missing:
            with contextlib.suppress(OSError):
                one.rmdir()


def _target_and_aside(path: Path) -> tuple[Path, Path]:
    """Return the file that `path` is, through links, and one beside it that is not there."""
    target = Path(os.path.realpath(path))   # a link stays one
    return target, target.with_name(f'.{target.name[:100]}.{secrets.token_hex(8)}')
