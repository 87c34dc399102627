# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tables of diversity scores for the terminal and for Markdown."""

from __future__ import annotations

from typing import Any

from rich.table import Table

# Key in `measures.pool`, heading.
COLUMNS = (
    ('coverage', 'coverage ↑'), ('precision', 'precision ↑'),
    ('energy_distance', 'energy distance ↓'), ('decided', 'decided (1)'),
    ('brier', 'Brier ↓'), ('calibration_error', 'calibration error ↓'), ('best', 'best ↓'),
    ('fused', 'fused ↓'), ('mean', 'one sample ↓'), ('spread', 'spread'))


def diversity_table(scores: dict[str, dict[str, Any]], title: str) -> Table:
    """Make the table for the terminal, one column for each way of forecasting."""
    table = Table(title=title, title_justify='left')
    table.add_column('', no_wrap=True)
    for name in scores:
        table.add_column(name, justify='right')
    for key, heading in COLUMNS:
        table.add_row(heading, *(f'{values[key]:.3f}' for values in scores.values()))
    return table


def diversity_markdown(scores: dict[str, dict[str, Any]]) -> str:
    """Make the same table and the reliability of each row's branches as Markdown."""
    lines = ['| samples | ' + ' | '.join(heading for _, heading in COLUMNS) + ' |',
             '|---|' + '---:|' * len(COLUMNS)]
    lines += [f'| {name} | ' + ' | '.join(f'{values[key]:.3f}' for key, _ in COLUMNS) + ' |'
              for name, values in scores.items()]
    lines += ['', '| samples | branches | predicted | true |', '|---|---:|---:|---:|']
    lines += [
        f'| {name} | {row["branches"]} | {row["predicted"]:.2f} | {row["true"]:.2f} |'
        for name, values in scores.items() for row in values['reliability']]
    return '\n'.join(lines) + '\n'
