# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tell where DDS will find too little shared memory, before it ends the process."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

FOLDER = Path('/dev/shm')
NEEDED = 80 * 2**20   # bytes: one segment of `config/fastdds_large_images.xml` and some more


def shared_memory_problems(folder: Path = FOLDER, needed: int = NEEDED) -> list[str]:
    """Return a line for each thing that keeps DDS from sharing memory; none where it can."""
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return [f'{folder} is missing or not writable: DDS cannot share memory with other '
                'processes (in Docker: --ipc host)']
    free = shutil.disk_usage(folder).free
    if free < needed:
        return [f'{folder} has {free // 2**20} MB left, {needed // 2**20} MB are needed: DDS may '
                'lose messages or end this process (in Docker: --ipc host or --shm-size 1g)']
    return []
