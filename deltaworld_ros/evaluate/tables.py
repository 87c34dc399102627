# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Result tables, one a lead, for the terminal, for Markdown and for the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from deltaworld_ros.evaluate.candidates import COLUMN_MEANINGS


@dataclass(frozen=True)
class Metric:
    """A metric: its key in the results, its heading and whether a higher value is better."""

    key: str
    heading: str
    higher_is_better: bool
    digits: int = 3


@dataclass(frozen=True)
class ScoreTable:
    """The scores of one lead: for each way of forecasting its name, meaning and values."""

    lead: str
    metrics: tuple[Metric, ...]
    rows: tuple[tuple[str, str, tuple[float | None, ...]], ...]
    differences: bool = False

    @property
    def title(self) -> str:
        """Say how far the lead is, and whether the values are differences."""
        return f'{self.lead} s ahead' + (', differences' if self.differences else '')

    def cells(self, values: Sequence[float | None]) -> list[str]:
        """Return the values of a row as text, differences with their sign."""
        sign = '+' if self.differences else ''
        return ['-' if value is None else f'{value:{sign}.{metric.digits}f}'
                for metric, value in zip(self.metrics, values, strict=True)]


METRICS = (
    Metric('feature_error', 'feature error', False),
    Metric('miou', 'mIoU', True),
    Metric('pixel_accuracy', 'right pixels', True),
    Metric('depth_rmse', 'depth RMSE (m)', False, 2),
    Metric('depth_absrel', 'depth AbsRel', False),
    Metric('depth_delta1', 'depth <1.25', True),
)


def score_tables(leads: dict[str, Any], metrics: Sequence[Metric] = METRICS,
                 meanings: dict[str, str] = COLUMN_MEANINGS) -> list[ScoreTable]:
    """Make the tables of a result's `leads`: metric key, then way of forecasting."""
    return [
        ScoreTable(lead, tuple(metrics), tuple(
            (name, meaning, tuple(scores[metric.key].get(name) for metric in metrics))
            for name, meaning in meanings.items() if name in scores[metrics[0].key]))
        for lead, scores in leads.items()]


def comparison_tables(leads: dict[str, Any], others: dict[str, Any]) -> list[ScoreTable]:
    """
    Make the tables of a result's `leads` minus those of another result with the same leads.

    They have the ways of forecasting of both: not every bundle has all baselines.
    """
    tables = []
    for one, other in zip(score_tables(leads), score_tables(others), strict=True):
        old_values = {name: values for name, _, values in other.rows}
        rows = tuple(
            (name, meaning, tuple(
                None if value is None or old is None else value - old
                for value, old in zip(values, old_values[name], strict=True)))
            for name, meaning, values in one.rows if name in old_values)
        tables.append(ScoreTable(one.lead, one.metrics, rows, differences=True))
    return tables


def rich_table(table: ScoreTable) -> Table:
    """Make the table for the terminal; arrows say which direction is better."""
    result = Table(title=table.title, title_justify='left', title_style='bold')
    result.add_column('forecast', no_wrap=True)
    for metric in table.metrics:
        arrow = '↑' if metric.higher_is_better else '↓'
        result.add_column(f'{metric.heading} {arrow}', justify='right')
    for name, _, values in table.rows:
        style = 'bold green' if name == 'fused' else ''
        result.add_row(name, *table.cells(values), style=style)
    return result


def markdown_tables(tables: Sequence[ScoreTable], caption: str) -> str:
    """Render all tables as Markdown with what each row means."""
    lines = [caption, '']
    for table in tables:
        arrows = ['↑' if metric.higher_is_better else '↓' for metric in table.metrics]
        headings = [f'{metric.heading} {arrow}'
                    for metric, arrow in zip(table.metrics, arrows, strict=True)]
        lines += [f'| {table.title} | ' + ' | '.join(headings) + ' |',
                  '|---|' + '---:|' * len(headings)]
        lines += [f'| {name} | ' + ' | '.join(table.cells(values)) + ' |'
                  for name, _, values in table.rows]
        lines.append('')
    lines += [f'- `{name}`: {meaning}' for name, meaning, _ in tables[0].rows]
    return '\n'.join(lines) + '\n'
