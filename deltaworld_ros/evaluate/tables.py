# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Result tables, one a lead, for the terminal, for Markdown and for the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich import box
from rich.table import Table

from deltaworld_ros.evaluate.column_names import COLUMN_MEANINGS, COLUMN_TITLES

STAR_MEANING = '* chooses or sees with the future at hand, so no robot can have it'


@dataclass(frozen=True)
class Metric:
    """
    A metric: its key in the results, its heading and whether a higher value is better.

    A key may name an entry of an entry: `group_iou.vehicle`.
    """

    key: str
    heading: str
    higher_is_better: bool
    meaning: str
    digits: int = 3

    def values(self, scores: dict[str, Any]) -> dict[str, float | None]:
        """Return the values by column, none where these scores lack the metric."""
        for part in self.key.split('.'):
            scores = scores.get(part, {})
        return scores


@dataclass(frozen=True)
class Row:
    """One way of forecasting: its name in the results, its title and meaning, and its values."""

    name: str
    title: str
    meaning: str
    values: tuple[float | None, ...]

    @property
    def afterwards(self) -> bool:
        """Say whether it needs the future, so that no robot can have it."""
        return self.title.endswith('*')


@dataclass(frozen=True)
class ScoreTable:
    """The scores of one lead, a row for each way of forecasting."""

    lead: str
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    note: str = ''
    differences: bool = False

    @property
    def title(self) -> str:
        """Say how far the lead is, and what the table holds."""
        return f'{self.lead} s ahead' + self.note + (', differences' if self.differences else '')

    def cells(self, values: Sequence[float | None]) -> list[str]:
        """Return the values of a row as text, differences with their sign."""
        sign = '+' if self.differences else ''
        return ['-' if value is None else f'{value:{sign}.{metric.digits}f}'
                for metric, value in zip(self.metrics, values, strict=True)]


METRICS = (
    Metric('feature_error', 'feature error', False,
           'squared error of the features, 1 being that of copy-last'),
    Metric('miou', 'mIoU', True,
           'right pixels of a class divided by all that are or were forecast to be of it, '
           'averaged over the classes'),
    Metric('pixel_accuracy', 'right pixels', True, 'share of the pixels whose class is right'),
    Metric('depth_rmse', 'depth RMSE (m)', False, 'root of the mean squared error of the depth',
           2),
    Metric('depth_absrel', 'depth AbsRel', False, 'error of the depth divided by the depth'),
    Metric('depth_delta1', 'depth <1.25', True, 'share of the depths within a factor of 1.25'),
)
OBSTACLE_METRICS = (
    Metric('miou_common', 'mIoU (common)', True,
           'mIoU of the classes with more than 1 % of the true pixels'),
    Metric('group_iou.vehicle', 'vehicle IoU', True, 'IoU of all vehicles taken as one class'),
    Metric('group_iou.obstacle', 'obstacle IoU', True, 'IoU of all obstacles taken as one class'),
    Metric('obstacle_error', 'nearest obstacle (m)', False,
           "mean error of the nearest obstacle's distance in each image column", 2),
)


def score_tables(leads: dict[str, Any], metrics: Sequence[Metric] = METRICS, *,
                 titles: dict[str, str] = COLUMN_TITLES,
                 meanings: dict[str, str] = COLUMN_MEANINGS, note: str = '',
                 metres: bool = True) -> list[ScoreTable]:
    """
    Make the tables of a result's `leads`: metric key, then way of forecasting.

    Without a known camera depth is not in metres, and the headings must not say so.
    """
    if not metres:
        metrics = [replace(one, heading=one.heading.replace('(m)', '(unscaled)'))
                   for one in metrics]
    tables = []
    for lead, scores in leads.items():
        columns = [metric.values(scores) for metric in metrics]
        known = tuple(metric for metric, values in zip(metrics, columns, strict=True) if values)
        columns = [values for values in columns if values]
        tables.append(ScoreTable(lead, known, tuple(
            Row(name, title, meanings[name], tuple(values.get(name) for values in columns))
            for name, title in titles.items() if name in columns[0]), note))
    return tables


def obstacle_tables(leads: dict[str, Any], *, metres: bool = True) -> list[ScoreTable]:
    """Make the tables of common classes, vehicles and obstacles."""
    return score_tables(
        leads, OBSTACLE_METRICS, note=', vehicles and obstacles', metres=metres)


def comparison_tables(leads: dict[str, Any], others: dict[str, Any]) -> list[ScoreTable]:
    """
    Make the tables of a result's `leads` minus those of another result with the same leads.

    They have the ways of forecasting of both: not every bundle has all baselines.
    """
    tables = []
    for one, other in zip(score_tables(leads), score_tables(others), strict=True):
        old_values = {row.name: row.values for row in other.rows}
        rows = tuple(
            Row(row.name, row.title, row.meaning, tuple(
                None if value is None or old is None else value - old
                for value, old in zip(row.values, old_values[row.name], strict=True)))
            for row in one.rows if row.name in old_values)
        tables.append(ScoreTable(one.lead, one.metrics, rows, differences=True))
    return tables


def rich_table(table: ScoreTable) -> Table:
    """Make the table for the terminal; arrows say which direction is better."""
    # Narrow enough for a terminal of 80 columns.
    result = Table(title=table.title, title_justify='left', title_style='bold',
                   box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    result.add_column('forecast', no_wrap=True)
    for metric in table.metrics:
        result.add_column(_heading(metric), justify='right', min_width=7)
    for row in table.rows:
        style = 'bold green' if row.name == 'fused' else ''
        result.add_row(row.title, *table.cells(row.values), style=style)
    return result


def legend(tables: Iterable[ScoreTable]) -> list[str]:
    """Return a line for each row and each column heading of the tables, and for the star."""
    rows, metrics = {}, {}
    for table in tables:
        rows.update({row.title: row.meaning for row in table.rows})
        metrics.update({metric.heading: metric.meaning for metric in table.metrics})
    return [f'{name}: {meaning}' for name, meaning in (*rows.items(), *metrics.items())] + [
        STAR_MEANING]


def skill_lines(result: dict[str, Any]) -> list[str]:
    """Say how much better than copy-last the published forecast is at the last lead, and ECE."""
    lead, scores = list(result['leads'].items())[-1]
    lines = []
    for error, columns in scores['skill'].items():
        one = columns['fused']
        if one['value'] is None:
            continue
        interval = (f', 95 % of {result["clips"]["count"]} clips drawn again: {one["low"]:+.3f} '
                    f'to {one["high"]:+.3f}' if one['low'] is not None else '')
        lines.append(f'skill in {error}, {lead} s ahead: {one["value"]:+.3f}{interval}')
    error = scores['confidence_calibration']['error']
    if error is not None:
        lines.append(f'confidence, {lead} s ahead: off by {error:.3f} on average (ECE)')
    lines.append(f'{bound_line(scores["obstacle_bound"])}, {lead} s ahead')
    return lines


def bound_line(bound: dict[str, Any]) -> str:
    """Say how often the lower bound of the nearest obstacle held."""
    promise = f'the bound of the nearest obstacle, promised for {100 * bound["wanted"]:.0f} %'
    if bound['coverage'] is None:
        return f'{promise}, had too few forecasts to learn from'
    alarm = f', with an alarm in {100 * bound["alarm"]:.0f} % of the forecasts' \
        if bound['alarm'] else ''
    return f'{promise} of the image columns, held in {100 * bound["coverage"]:.1f} %{alarm}'


def markdown_tables(tables: Sequence[ScoreTable], caption: str) -> str:
    """Render all tables as Markdown with what each row means."""
    lines = [caption, '']
    for table in tables:
        headings = ' | '.join(_heading(metric) for metric in table.metrics)
        lines += [f'| {table.title} | {headings} |', '|---|' + '---:|' * len(table.metrics)]
        lines += [f'| {row.title} | ' + ' | '.join(table.cells(row.values)) + ' |'
                  for row in table.rows]
        lines.append('')
    lines += [f'- {line}' if not line.startswith('*') else f'\n{line}' for line in legend(tables)]
    return '\n'.join(lines) + '\n'


def _heading(metric: Metric) -> str:
    return f'{metric.heading} {"↑" if metric.higher_is_better else "↓"}'
