# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Make what is slow to make once a test run, for all of its processes."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support.tracing import untraced

# Names the run's folder to the worker processes of pytest-xdist, which inherit it.
VARIABLE = 'DELTAWORLD_TEST_STORE'


def once(name: str, make: Callable[[Path], object]) -> Path:
    """
    Return the folder that `make` filled, which nobody may change.

    The first process that asks for a name makes its folder; others wait for it. A `make` that
    raises leaves nothing behind.
    """
    store = Path(os.environ[VARIABLE])
    folder = store / name
    with open(store / f'{name}.lock', 'w') as lock, untraced():
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = store / f'{name}.unfinished'
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
    return folder


@contextmanager
def store_of_this_run() -> Iterator[None]:
    """Make the folder of `once`, and remove it at the end; nothing in a worker process."""
    if VARIABLE in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix='deltaworld_tests_') as folder:
        os.environ[VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[VARIABLE]
