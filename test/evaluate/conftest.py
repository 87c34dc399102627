# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The tiny bundle and its engine, for every test of the evaluation that has none of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.engine import Engine, load_engine


@pytest.fixture(scope='module')
def bundle(tiny_bundle: Path) -> Bundle:
    """Load the tiny bundle."""
    return load_bundle(tiny_bundle)


@pytest.fixture(scope='module')
def engine(bundle: Bundle) -> Engine:
    """Start its engine, on one thread."""
    return load_engine(bundle, 'onnxruntime', threads=1)
