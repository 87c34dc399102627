# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Share what is slow to make between tests, and trace only what coverage is asked of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.once import store_of_this_run
from support.tiny_bundle import write_tiny_bundle
from support.tracing import untraced

# No coverage is asked of what these test, and their Python is slow to trace (see the Makefile).
UNTRACED = ('export', 'model', 'repository', 'training')


def pytest_configure(config: pytest.Config) -> None:
    """Make the store that all processes of the run share."""
    store = store_of_this_run()
    store.__enter__()
    config.add_cleanup(lambda: store.__exit__(None, None, None))


@pytest.fixture(scope='module', autouse=True)
def tracing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Measure coverage where it is asked for."""
    if request.path.parent.name in UNTRACED:
        with untraced():
            yield
    else:
        yield


@pytest.fixture(scope='session')
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny real bundle; tests must not change it."""
    return write_tiny_bundle(tmp_path_factory.mktemp('bundles') / 'tiny')
