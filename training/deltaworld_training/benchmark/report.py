# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark's result beside what others published, for the terminal and for Markdown."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from deltaworld_training.benchmark.cited_rows import CITED_ROWS

TITLES = {
    'best': 'best of {samples} *', 'mean': 'mean of {samples}', 'copy_last': 'copy-last',
    'reconstruction': 'tokenizer reconstruction *', 'present': 'heads on true features *'}
HEADINGS = ('forecast', 'from', 'short', 'mid')
NOTE = '* chooses or sees with the future at hand. Rows of others are cited, not measured here.'


def benchmark_table(result: dict[str, Any]) -> Table:
    """Return the table of a result, titled with benchmark, metric and what was scored."""
    table = Table(title=_title(result), caption=NOTE)
    for heading in HEADINGS:
        table.add_column(heading, justify='right' if heading in result['horizons'] else 'left')
    for mine, row in _rows(result):
        table.add_row(*row, style='bold' if mine else '')
    return table


def benchmark_markdown(result: dict[str, Any]) -> str:
    """Return the same as Markdown."""
    lines = [_title(result), '', f'| {" | ".join(HEADINGS)} |', '|---|---|---|---|',
             *(f'| {" | ".join(row)} |' for _, row in _rows(result)), '', NOTE]
    return '\n'.join(lines) + '\n'


def _title(result: dict[str, Any]) -> str:
    return (f'{result["benchmark"]}: {result["metric"]}, {result["windows"]} windows, crops of '
            f'{result["side"]} pixels')


def _rows(result: dict[str, Any]) -> Iterator[tuple[bool, tuple[str, str, str, str]]]:
    """Yield each row and whether it was measured here."""
    name, horizons = result['benchmark'], result['horizons']
    digits = 2 if name == 'kitti' else 1

    def shown(value: float | None) -> str:
        return '-' if value is None else f'{value:.{digits}f}'

    for way, title in TITLES.items():
        if result['samples'] == 1 and way == 'best':
            continue   # one future is its own mean
        yield True, (title.format(samples=result['samples']), f'{result["bundle"]}, measured',
                     shown(horizons['short'][way]), shown(horizons['mid'][way]))
    for row in CITED_ROWS:
        yield False, (row.title, row.source, shown(row.short[name]), shown(row.mid[name]))
