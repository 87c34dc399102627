# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The ladder's figures: accuracy against cost, and the scaling of best-of-many."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deltaworld_training.ladder.rows import rows_of


def draw_ladder(result: dict[str, Any], path: Path) -> None:
    """Draw best and mean of every row at both horizons, each seed a dot."""
    figure = Figure(figsize=(11.0, 6.4), layout='constrained')
    panels = figure.subplots(2, 2, sharey=True)
    for column, (metric, name) in enumerate((
            ('miou', 'mIoU (higher is better)'),
            ('depth_rmse', 'depth RMSE in m (lower is better)'))):
        for line, horizon in enumerate(('short', 'mid')):
            _dots(panels[line][column], result, metric, horizon)
            panels[line][column].set_xlabel(f'{name}, {horizon}')
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=5, frameon=False)
    figure.savefig(path, dpi=110)


def _dots(panel: Axes, result: dict[str, Any], metric: str, horizon: str) -> None:
    rows = rows_of(result)
    places = np.arange(len(rows))[::-1]
    low, high = [], []
    for kind, shift, colour in (('best', 0.18, '#1f5fa8'), ('mean', -0.18, '#9bbcdd')):
        values = [[run['forecast'][horizon][kind][metric] for run in result['rows'][row.key]]
                  for row in rows]
        # Dots and no bars: the axes do not begin at zero.
        panel.plot([np.mean(each) for each in values], places + shift, 'o', color=colour,
                   markersize=9, label=f'{kind} of {result["budget"]["samples"]}')
        for place, each in zip(places, values, strict=True):
            panel.plot(each, [place + shift] * len(each), '.', color='black', markersize=4,
                       label='one seed' if kind == 'mean' and place == 0 else None)
        low += [min(each) for each in values]
        high += [max(each) for each in values]
    for name, style in (('copy_last', ':'), ('oracle', '--')):
        value = result['bounds'][name][horizon]['best'][metric]
        panel.axvline(value, linestyle=style, color='#a33', label=name.replace('_', ' '))
        low.append(value)
        high.append(value)
    margin = 0.08 * (max(high) - min(low)) + 1e-6
    panel.set_xlim(max(0.0, min(low) - margin), max(high) + margin)
    panel.grid(axis='y', color='#ddd')
    panel.set_yticks(places, [row.title for row in rows], fontsize=8)


def draw_scaling(result: dict[str, Any], path: Path) -> None:
    """Draw mIoU at the mid horizon over training K, one line for each number of samples."""
    figure = Figure(figsize=(9.0, 3.6), layout='constrained')
    panels = figure.subplots(1, 2)
    runs = result['scaling']
    trained = [run['candidates'] for run in runs]
    for panel, kind in zip(panels, ('best', 'mean'), strict=True):
        for count in runs[0]['scores']:
            panel.plot(trained, [run['scores'][count]['mid'][kind]['miou'] for run in runs],
                       'o-', label=f'{count} sample{"s" if count != "1" else ""}')
        copied = result['bounds']['copy_last']['mid']['best']['miou']
        panel.axhline(copied, linestyle=':', color='#a33', label='copy last')
        panel.set_xscale('log', base=2)
        panel.set_xticks(trained, [str(k) for k in trained])
        panel.set_xlabel('candidates K in training')
        panel.set_ylabel(f'mIoU, {kind}, mid')
    panels[0].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
