# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stop measuring coverage for a while: traced Python is three times as slow, whoever wrote it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# By this, coverage starts itself in new processes.
VARIABLE = 'COVERAGE_PROCESS_CONFIG'


@contextmanager
def untraced() -> Iterator[None]:
    """Measure no coverage here, nor in processes that are started here; may be nested."""
    coverage = sys.modules.get('coverage')
    measured = coverage.Coverage.current() if coverage else None
    config = os.environ.pop(VARIABLE, None)
    # The variable is missing inside another `untraced`, where nothing must start again.
    stopped = measured if config is not None else None
    if stopped is not None:
        stopped.stop()
    try:
        yield
    finally:
        if config is not None:
            os.environ[VARIABLE] = config
        if stopped is not None:
            # It would look at the path of every module, and what torch calls modules has none.
            stopped._warn_preimported_source = False
            stopped.start()
