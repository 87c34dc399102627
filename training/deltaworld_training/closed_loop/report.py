# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tables of episodes: means over worlds with 95 % confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from deltaworld_training.closed_loop.episode import Record
from deltaworld_training.closed_loop.information import KINDS, PRESENT, TRUTH
from deltaworld_training.closed_loop.scenarios import CALM, SCENARIOS

_RESAMPLES = 2000
_MEASURES: tuple[tuple[str, Callable[[Record], float | None]], ...] = (
    ('collisions (%)', lambda one: 100.0 * one.collided),
    ('impact speed (m/s)', lambda one: one.impact_speed if one.collided else None),
    ('brake onset (s)', lambda one: one.brake_onset),
    ('least time to collision (s)', lambda one: one.least_time_to_collision),
    ('way driven (m)', lambda one: one.distance),
)


def tables(records: Sequence[Record]) -> str:
    """Return Markdown: a table of each scenario, one row for each kind of information."""
    parts = []
    for scenario in SCENARIOS:
        chosen = [one for one in records if one.scenario == scenario]
        if chosen:
            parts.append(_table(scenario, chosen, records))
    return '\n\n'.join(parts) + '\n'


def _table(scenario: str, chosen: Sequence[Record], records: Sequence[Record]) -> str:
    worlds = len({one.seed for one in chosen})
    names = [name for name, _ in _MEASURES] + ['braking (% of decisions)']
    if scenario == CALM:
        names.append('false stops (%)')
    lines = [f'**{scenario}** ({worlds} worlds)', '',
             f'| information | {" | ".join(names)} |', '|---|' + '---:|' * len(names)]
    for kind in KINDS:
        mine = [one for one in chosen if one.kind == kind]
        if not mine:
            continue
        cells = [_cell([measure(one) for one in mine]) for _, measure in _MEASURES]
        cells.append(_cell([100 * one.limited for one in mine]))
        if scenario == CALM:
            needed = {one.seed for one in records if one.kind == TRUTH and one.stopped}
            cells.append(_cell([100.0 * (one.stopped and one.seed not in needed)
                                for one in mine]))
        lines.append(f'| {kind} | {" | ".join(cells)} |')
    return '\n'.join([*lines, '', _paired(chosen)])


def _paired(chosen: Sequence[Record]) -> str:
    """Return the change in collisions against present maps, on the same worlds."""
    by_kind = {kind: {one.seed: one for one in chosen if one.kind == kind} for kind in KINDS}
    base = by_kind[PRESENT]
    parts = []
    for kind in KINDS[1:]:
        both = sorted(by_kind[kind].keys() & base.keys())
        fewer = sum(base[seed].collided and not by_kind[kind][seed].collided for seed in both)
        more = sum(by_kind[kind][seed].collided and not base[seed].collided for seed in both)
        parts.append(f'{kind}: {fewer} avoided, {more} added')
    return f'Collisions against present maps in the same worlds: {"; ".join(parts)}.'


def _cell(values: Sequence[float | None]) -> str:
    """Return the mean and the half width of its bootstrap interval, and how many there are."""
    known = np.array([value for value in values if value is not None], float)
    if not known.size:
        return '-'
    generator = np.random.default_rng(0)
    means = known[generator.integers(known.size, size=(_RESAMPLES, known.size))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    count = f' (n={known.size})' if known.size < len(values) else ''
    return f'{known.mean():.2f} [{low:.2f}, {high:.2f}]{count}'
