# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a process starts that only loads or renders."""

import os

import cv2


def start_worker(_: int = 0) -> None:
    """Keep the process to one thread: the processes are the parallelism."""
    os.environ['LP_NUM_THREADS'] = '1'
    cv2.setNumThreads(1)
