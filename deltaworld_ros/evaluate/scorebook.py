# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sums of every scorer by clip and lead; pooled, or drawn again for intervals of the skill."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from deltaworld_ros.evaluate.pairs import Pair
from deltaworld_ros.evaluate.scorers.scorer import Scorer, Sums, add

# One dictionary of sums by scorer for each lead.
LeadSums = list[dict[str, Sums]]
_DRAWS = 1000
# Fewer clips say too little about how much the next recording may differ.
_FEWEST_CLIPS = 5


class Clips:
    """The sums of the clips of one recording, in their order."""

    def __init__(self) -> None:
        self.sums: dict[int, LeadSums] = {}

    def add(self, clip: int, measured: LeadSums) -> None:
        """Add one forecast."""
        if clip not in self.sums:
            self.sums[clip] = [{} for _ in measured]
        for total, more in zip(self.sums[clip], measured, strict=True):
            for scorer, sums in more.items():
                add(total.setdefault(scorer, {}), sums)


def measure(scorers: Sequence[Scorer], pairs: Sequence[Pair]) -> LeadSums:
    """Return what one forecast adds, one pair a lead."""
    return [{scorer.name: scorer.measure(pair) for scorer in scorers} for pair in pairs]


def pool(clips: Iterable[LeadSums], draws: np.ndarray | None = None) -> LeadSums:
    """
    Add clips up; with draws (B, clips), how often each clip counts, to sums with a leading axis B.

    What some clips lack (a baseline that another recording had no data for) is left out.
    """
    every = list(clips)
    result: LeadSums = []
    for lead in range(len(every[0])):
        result.append({})
        for scorer in every[0][lead]:
            parts = [clip[lead][scorer] for clip in every]
            shared = [name for name in parts[0] if all(name in part for part in parts)]
            if draws is None:
                result[lead][scorer] = {
                    name: np.sum([part[name] for part in parts], axis=0) for name in shared}
            else:
                result[lead][scorer] = {
                    name: np.tensordot(draws, np.stack([part[name] for part in parts]), 1)
                    for name in shared}
    return result


def scores(scorers: Sequence[Scorer], sums: LeadSums) -> list[dict[str, Any]]:
    """Return for each lead every scorer's scores."""
    return [{metric: value for scorer in scorers
             for metric, value in scorer.scores(lead[scorer.name]).items()} for lead in sums]


def skills(scorers: Sequence[Scorer], clips: Sequence[LeadSums],
           seed: int = 0) -> list[dict[str, dict[str, dict[str, float]]]]:
    """
    Return for each lead by error and column the skill, 1 - error / error of copy-last.

    1 is perfect, 0 as good as copy-last, negative worse. `low` and `high` hold 95 % of the
    skills of as many clips drawn with replacement (percentile bootstrap), NaN with too few clips.
    """
    count = len(clips)
    point = pool(clips)
    drawn: LeadSums = [{} for _ in point]
    if count >= _FEWEST_CLIPS:
        generator = np.random.default_rng(seed)
        drawn = pool(clips, generator.multinomial(count, np.full(count, 1 / count), _DRAWS))
    result = []
    for lead, sums in enumerate(point):
        entry: dict[str, dict[str, dict[str, float]]] = {}
        for scorer in scorers:
            many = scorer.errors(drawn[lead][scorer.name]) if drawn[lead] else {}
            for error, columns in scorer.errors(sums[scorer.name]).items():
                entry[error] = {
                    column: _skill(value, columns['copy_last'], many.get(error, {}), column)
                    for column, value in columns.items()}
        result.append(entry)
    return result


def _skill(error: np.ndarray, copy_last: np.ndarray, drawn: dict[str, np.ndarray],
           column: str) -> dict[str, float]:
    interval = (math.nan, math.nan)
    if drawn:
        values = _one_minus(drawn[column], drawn['copy_last'])
        if np.isfinite(values).all():
            low, high = np.percentile(values, [2.5, 97.5])
            interval = float(low), float(high)
    return {'value': float(_one_minus(error, copy_last)), 'low': interval[0],
            'high': interval[1]}


def _one_minus(error: np.ndarray, copy_last: np.ndarray) -> np.ndarray:
    with np.errstate(divide='ignore', invalid='ignore'):
        return np.where(copy_last > 0, 1 - error / copy_last, np.nan)
