# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Limits under which `deltaworld evaluate` fails, for continuous integration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from deltaworld_ros.errors import UserError

SKILLS = ('features', 'classes', 'depth')
_KNOWN = ('skill', *(f'skill.{name}' for name in (*SKILLS, 'obstacles')), 'miou',
          'miou_common', 'pixel_accuracy', 'depth_delta1')


def read_limits(texts: Sequence[str]) -> dict[str, float]:
    """Read limits such as `skill=0.1`; raise `UserError` for anything else."""
    limits = {}
    for text in texts:
        name, _, value = text.partition('=')
        try:
            limits[name] = float(value)
        except ValueError:
            limits[name] = math.nan
        if name not in _KNOWN or not math.isfinite(limits[name]):
            raise UserError(f'--fail-under {text!r}: must be NAME=NUMBER with a NAME of '
                            f'{", ".join(_KNOWN)}')
    return limits


def broken_limits(limits: dict[str, float], result: dict[str, Any]) -> list[str]:
    """
    Return a line for each limit that the published forecast at the last lead is under.

    `skill` is the least of the skills in features, classes and depth. A value that does not exist
    is under every limit.
    """
    lead, scores = list(result['leads'].items())[-1]
    lines = []
    for name, limit in limits.items():
        value = _value(name, scores)
        if value is None or value < limit:
            shown = 'not known' if value is None else f'{value:.3f}'
            lines.append(f'{name} of the published forecast, {lead} s ahead, is {shown}, under '
                         f'the limit {limit:g}')
    return lines


def _value(name: str, scores: dict[str, Any]) -> float | None:
    kind, _, error = name.partition('.')
    if kind != 'skill':
        value: float | None = scores[name]['fused']
        return value
    values = [scores['skill'][one]['fused']['value'] for one in ([error] if error else SKILLS)]
    return None if None in values else min(values)
