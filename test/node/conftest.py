# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Running nodes that several tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.ros_session import Client


@pytest.fixture(scope='module')
def raw(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Run a node with raw images that has a whole context."""
    from support.ros_session import running  # needs rclpy
    log = tmp_path_factory.mktemp('raw') / 'log'
    with running(log, bundle=tiny_bundle, autostart=True) as client:
        client.connect()
        yield client
