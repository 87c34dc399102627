# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Too little shared memory is told at start."""

from __future__ import annotations

from pathlib import Path

from deltaworld_ros.node.shared_memory import shared_memory_problems


def test_little_shared_memory_is_told(tmp_path: Path) -> None:
    assert shared_memory_problems(tmp_path, needed=1) == []
    [line] = shared_memory_problems(tmp_path, needed=2**70)
    assert 'MB left' in line and '--shm-size' in line
    [line] = shared_memory_problems(tmp_path / 'missing')
    assert 'missing or not writable' in line
