# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The one error type that a user's mistake raises, and how commands tell it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """A mistake in a file, parameter or message: one line that says what is accepted."""


@contextmanager
def mistakes_in_one_line() -> Iterator[None]:
    """
    End the process with one line and exit code 1 for a user's mistake, whichever command.

    So are errors of the file system (a full disk, a folder that cannot be written), which any
    call can raise, and too little memory. All others keep their traceback: they are ours.
    """
    try:
        try:
            yield
        finally:
            _flush_output()
        return
    except UserError as error:
        reason = str(error)
    except BrokenPipeError:   # whoever read the results, such as `head`, has gone
        sys.exit(1)
    except OSError as error:
        reason = f'{error.filename}: {error.strerror}' if error.filename else str(error)
    except MemoryError as error:
        reason = f'too little memory: {error}' if str(error) else 'too little memory'
    print(f'deltaworld: {reason}', file=sys.stderr)
    sys.exit(1)


def _flush_output() -> None:
    """Write what is left of the standard output; raise what that raises once, and not again."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        # Python tries again when it ends, and complains in lines of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
