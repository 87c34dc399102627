# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Write results so that others see a file whole or not at all."""

from __future__ import annotations

import contextlib
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
        target = Path(os.path.realpath(path))   # a link stays one
        aside = target.with_name(f'.{target.name[:100]}.{secrets.token_hex(8)}')
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
