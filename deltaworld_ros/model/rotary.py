# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rotary position tables: two-dimensional for patches, one-dimensional for time."""

import math

import torch
from torch import Tensor


def patch_table(
    rows: int, columns: int, head_size: int = 64, scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """
    Return the cosine and sine tables of a patch grid, each (rows * columns, head_size).

    Coordinates are patch centres scaled to -1..1, times `scale`; the first quarter of the
    frequencies turns with y, the second with x, and both are tiled twice (rotate-half
    layout), as in DINOv3.
    """
    quarter = head_size // 4
    periods = 100.0 ** (torch.arange(quarter, dtype=torch.float64) / quarter)
    y = 2.0 * (torch.arange(rows, dtype=torch.float64) + 0.5) / rows - 1.0
    x = 2.0 * (torch.arange(columns, dtype=torch.float64) + 0.5) / columns - 1.0
    grid = torch.stack(torch.meshgrid(y, x, indexing='ij'), dim=-1).reshape(-1, 2)
    angles = 2.0 * math.pi * scale * grid[:, :, None] / periods
    angles = angles.reshape(rows * columns, 2 * quarter).repeat(1, 2)
    return angles.cos().float(), angles.sin().float()


def time_frequencies(count: int = 30) -> Tensor:
    """Return the time frequencies in turns per second, float64 (count,), from 100 to 0.01."""
    return 10.0 ** -torch.linspace(-2.0, 2.0, count, dtype=torch.float64)


def time_table(times: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """
    Return cosine and sine of the time rotation, each (..., len(frequencies)) float32.

    Times are in seconds, float64. They must be small (re-based to a recent frame): the highest
    frequency turns 100 times a second, so epoch seconds would keep no phase in float32.
    """
    angles = 2.0 * math.pi * times.double()[..., None] * frequencies.to(times.device)
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the halves of the last axis by tables of that whole axis, in float32."""
    first, second = x.float().chunk(2, dim=-1)
    rotated = torch.cat([-second, first], dim=-1)
    return (x.float() * cos + rotated * sin).to(x.dtype)


def rotate_leading(x: Tensor, cos: Tensor, sin: Tensor, axes: int = 1) -> Tensor:
    """
    Rotate the first 2 R values of the last axis by tables of size R; leave the rest alone.

    With several axes, each rotates a contiguous part of its own, 2 R / axes values in two halves,
    by its part of the tables.
    """
    whole = x.float()
    parts, size = [], cos.shape[-1] // axes
    for axis in range(axes):
        begin = 2 * size * axis
        first, second = whole[..., begin:begin + size], whole[..., begin + size:begin + 2 * size]
        own = slice(size * axis, size * (axis + 1))
        parts += [first * cos[..., own] - second * sin[..., own],
                  second * cos[..., own] + first * sin[..., own]]
    return torch.cat([*parts, whole[..., 2 * size * axes:]], dim=-1).to(x.dtype)
