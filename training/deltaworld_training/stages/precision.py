# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The precision that a stage trains in where its recipe names none."""

import time

import torch

REPEATS = 5
# Of the time of float32, what bfloat16 may take at most to be worth its rounding.
WORTHWHILE = 0.7


def fastest_precision() -> str:
    """
    Return bf16-mixed on a GPU, and on a CPU that multiplies bfloat16 faster; else 32-true.

    CPUs with instructions for bfloat16 are several times faster with it; others take tens of
    times as long.
    """
    if torch.cuda.is_available() or _time(torch.bfloat16) < WORTHWHILE * _time(torch.float32):
        return 'bf16-mixed'
    return '32-true'


def _time(dtype: torch.dtype) -> float:
    left, right = torch.ones(256, 512, dtype=dtype), torch.ones(512, 256, dtype=dtype)
    left @ right
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - started)
    return min(times)
