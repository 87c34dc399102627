# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Small plots as SVG text, for the report: they scale with the page and need no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 420, 250, 52, 44, 26


@dataclass(frozen=True)
class Line:
    """One line: its name, colour and points; a point may have an interval (low, high)."""

    name: str
    color: str
    points: Sequence[tuple[float, float]]
    intervals: Sequence[tuple[float, float] | None] = ()


def plot(lines: Sequence[Line], x_title: str, y_title: str, x_range: tuple[float, float],
         y_range: tuple[float, float], *, reference: float | None = None,
         diagonal: bool = False) -> Markup:
    """
    Draw lines; values outside `y_range` are drawn at its edge.

    `reference` is a horizontal dashed line, `diagonal` a dashed y = x.
    """
    def x(value: float) -> float:
        share = (value - x_range[0]) / (x_range[1] - x_range[0])
        return _LEFT + share * (_WIDTH - _LEFT - 12)

    def y(value: float) -> float:
        share = (min(max(value, y_range[0]), y_range[1]) - y_range[0]) / (y_range[1] - y_range[0])
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
             f'aria-label="{escape(y_title)} against {escape(x_title)}" class="plot">']
    for value in ticks(*y_range):
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 12}" y1="{y(value):.1f}" '
                     f'y2="{y(value):.1f}" class="grid"/><text x="{_LEFT - 6}" '
                     f'y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in ticks(*x_range):
        parts.append(f'<text x="{x(value):.1f}" y="{_HEIGHT - _BOTTOM + 16}" '
                     f'text-anchor="middle">{value:g}</text>')
    if reference is not None:
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 12}" y1="{y(reference):.1f}" '
                     f'y2="{y(reference):.1f}" class="dashed"/>')
    if diagonal:
        parts.append(f'<line x1="{x(x_range[0]):.1f}" y1="{y(x_range[0]):.1f}" '
                     f'x2="{x(x_range[1]):.1f}" y2="{y(x_range[1]):.1f}" class="dashed"/>')
    for number, line in enumerate(lines):
        path = ' '.join(f'{x(a):.1f},{y(b):.1f}' for a, b in line.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{line.color}" '
                     'stroke-width="2.5"/>')
        for (a, b), interval in zip(
                line.points, line.intervals or [None] * len(line.points), strict=True):
            parts.append(f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3.5" fill="{line.color}"/>')
            if interval:
                parts.append(f'<line x1="{x(a):.1f}" x2="{x(a):.1f}" y1="{y(interval[0]):.1f}" '
                             f'y2="{y(interval[1]):.1f}" stroke="{line.color}"/>')
        parts.append(f'<text x="{_LEFT + 4 + number * 92}" y="14" fill="{line.color}" '
                     f'font-weight="600">{escape(line.name)}</text>')
    parts.append(f'<text x="{(_LEFT + _WIDTH) / 2:.0f}" y="{_HEIGHT - 8}" '
                 f'text-anchor="middle">{escape(x_title)}</text></svg>')
    return Markup(''.join(parts))


def ticks(low: float, high: float) -> list[float]:
    """Return three to seven round numbers from `low` to `high`, evenly spaced."""
    rough = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]
