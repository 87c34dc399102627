# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Share one tiny bundle between all tests of a session."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope='session')
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a tiny real bundle; tests must not change it."""
    return write_tiny_bundle(tmp_path_factory.mktemp('bundles') / 'tiny')
