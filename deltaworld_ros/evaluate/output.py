# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What `deltaworld evaluate` prints and writes besides the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from deltaworld_ros.bundle.whole_file import whole_file, write_whole
from deltaworld_ros.evaluate.bag_scores import BagScores
from deltaworld_ros.evaluate.tables import (
    comparison_tables,
    legend,
    markdown_tables,
    obstacle_tables,
    rich_table,
    score_tables,
    skill_lines,
)


def print_result(console: Console, result: dict[str, Any], profile: bool) -> None:
    """Print the tables, what they mean, and what was scored."""
    metres = result['depth_unit'] == 'm'
    tables = score_tables(result['leads'], metres=metres)
    obstacles = obstacle_tables(result['leads'], metres=metres)[-1]
    for table in (*tables, obstacles):
        console.print(rich_table(table), '')
    for line in (*legend([*tables, obstacles]), *skill_lines(result)):
        console.print(line, style='dim', highlight=False, markup=False)
    if len(result['bags']) > 1:
        console.print(_bag_table(result), '')
    console.print(_counts(result))
    if profile:
        console.print(_profile(result['profile_s']))
    if 'against' in result:
        other = result['against']
        for table in comparison_tables(result['leads'], other['leads']):
            console.print(rich_table(table), '')
        console.print(f'{result["bundle"]} minus {other["bundle"]}, which has '
                      f'{other["forecasts"]} forecasts scored', markup=False)


def write_lines(path: Path, bags: Sequence[BagScores]) -> None:
    """Write the scores of each forecast, one JSON object a line."""
    with whole_file(path) as file:
        for bag in bags:
            for record in bag.records:
                line = json.dumps({'bag': bag.report.path, **record}, allow_nan=False)
                file.write(line + '\n')


def write_markdown(path: Path, result: dict[str, Any]) -> None:
    """Write all tables as Markdown."""
    metres = result['depth_unit'] == 'm'
    tables = [*score_tables(result['leads'], metres=metres),
              *obstacle_tables(result['leads'], metres=metres)]
    names = ', '.join(Path(bag['path']).name for bag in result['bags'])
    caption = (f'`{result["bundle"]}` on {names}: {result["forecasts"]} forecasts, '
               f'truth: {_kinds(result)}.')
    if 'against' in result:
        tables += comparison_tables(result['leads'], result['against']['leads'])
        caption += f' Differences: `{result["bundle"]}` minus `{result["against"]["bundle"]}`.'
    write_whole(path, markdown_tables(tables, caption))


def _kinds(result: dict[str, Any]) -> str:
    return ', '.join(f'{what}: {kind}' for what, kind in result['truth_of'].items())


def _counts(result: dict[str, Any]) -> str:
    """Say what was scored and what was not."""
    latency = result['latency_ms']
    odd = ''.join(f', {count} left out ({kind})' for kind, count in result['odd_frames'].items())
    return (f'{result["forecasts"]} forecasts scored, {result["unscored"]} without a future to '
            f'compare with, {result["dropped"]} images dropped{odd}, '
            f'{result["restarts"]} restarts; '
            f'truth: {_kinds(result)}; latency {latency["p50"]:.0f} ms '
            f'(95 % within {latency["p95"]:.0f} ms)')


def _bag_table(result: dict[str, Any]) -> Table:
    """Make a row for each recording, at the last lead."""
    lead = list(result['leads'])[-1]
    table = Table(title=f'{lead} s ahead, by bag: published forecast / copy-last',
                  title_justify='left', title_style='bold', box=box.SIMPLE_HEAD,
                  padding=0, show_edge=False)
    for heading in ('bag', 'truth', 'forecasts', 'mIoU', 'right pixels', 'AbsRel'):
        table.add_column(heading, justify='left' if heading in ('bag', 'truth') else 'right')
    for bag in result['bags']:
        cells = ['-'] * 3
        if bag['leads']:
            scores = bag['leads'][lead]
            cells = [_both(scores[metric]) for metric in
                     ('miou', 'pixel_accuracy', 'depth_absrel')]
        truth = 'ground' if 'ground_truth' in bag['truth_of'].values() else 'pseudo'
        table.add_row(Path(bag['path']).name, truth if bag['leads'] else '-',
                      str(bag['forecasts']), *cells)
    return table


def _both(values: dict[str, float | None]) -> str:
    return ' / '.join('-' if value is None else f'{value:.3f}'
                      for value in (values['fused'], values['copy_last']))


def _profile(seconds: dict[str, float]) -> str:
    parts = ', '.join(f'{name} {seconds[name]:.1f} s' for name in
                      ('observe', 'rollout', 'decode', 'scorers'))
    return (f'{seconds["total"]:.1f} s, of which {100 * seconds["graph_share"]:.0f} % in the '
            f'graphs: {parts}; the rest reads images, finds the flow and keeps pictures')
