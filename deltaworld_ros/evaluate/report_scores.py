# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scores as the report shows them: marked tables, sentences and plots."""

from __future__ import annotations

from typing import Any

from deltaworld_ros.evaluate.plots import Line, plot
from deltaworld_ros.evaluate.tables import ScoreTable

# On a narrow screen these columns are left out.
_EXTRA = ('depth_rmse', 'depth_delta1', 'group_iou.obstacle')
_COLORS = {'features': '#7a5195', 'classes': '#0b6e99', 'depth': '#c8553d',
           'obstacles': '#3a7d44'}
_SKILL_NAMES = {'features': 'features (squared error)', 'classes': 'classes (wrong pixels)',
                'depth': 'distance (AbsRel)', 'obstacles': 'nearest obstacle (error)'}


def table_view(table: ScoreTable) -> dict[str, Any]:
    """Mark in each column the best value that a robot could have had."""
    marked = []
    for column, metric in enumerate(table.metrics):
        fair = [(value, row.name) for row in table.rows
                if not row.afterwards and (value := row.values[column]) is not None]
        choose = max if metric.higher_is_better else min
        marked.append(choose(fair)[1] if fair else None)
    extra = [metric.key in _EXTRA for metric in table.metrics]
    return {
        'title': table.title,
        'headings': [(metric.heading, metric.higher_is_better, extra[column])
                     for column, metric in enumerate(table.metrics)],
        'rows': [
            {'title': row.title, 'meaning': row.meaning, 'own': row.name == 'fused',
             'cells': [(text, marked[column] == row.name, extra[column])
                       for column, text in enumerate(table.cells(row.values))]}
            for row in table.rows],
    }


def verdict(table: ScoreTable) -> list[str]:
    """Say in words how the forecast compares with copy-last, metric by metric."""
    rows = {row.name: dict(zip([metric.key for metric in table.metrics], row.values, strict=True))
            for row in table.rows}
    words = {'pixel_accuracy': ('share of pixels with the right class', 100, '.1f', ' %'),
             'miou': ('overlap with the true classes, each counted alike (mIoU)', 1, '.3f', ''),
             'depth_absrel': ('relative error of the distances', 100, '.1f', ' %')}
    sentences = []
    for metric in table.metrics:
        own, still = rows['fused'][metric.key], rows['copy_last'][metric.key]
        if metric.key not in words or own is None or still is None:
            continue
        better = own > still if metric.higher_is_better else own < still
        judged = 'better than' if better else 'equal to' if own == still else 'worse than'
        what, factor, digits, unit = words[metric.key]
        sentences.append(
            f'{what[0].upper()}{what[1:]}, {table.lead} s ahead: {factor * own:{digits}}{unit}, '
            f'{judged} copy-last with {factor * still:{digits}}{unit}.')
    return sentences


def skill_rows(result: dict[str, Any]) -> list[dict[str, str]]:
    """Return skills of the published forecast at the last lead, with their intervals."""
    rows = []
    for error, columns in list(result['leads'].values())[-1]['skill'].items():
        one = columns['fused']
        if one['value'] is None:
            continue
        interval = '' if one['low'] is None else f'{one["low"]:+.2f} to {one["high"]:+.2f}'
        rows.append({'name': _SKILL_NAMES[error], 'value': f'{one["value"]:+.2f}',
                     'interval': interval})
    return rows


def skill_plot(result: dict[str, Any]) -> str:
    """Draw the skills of the published forecast against the lead."""
    leads = {float(lead): scores['skill'] for lead, scores in result['leads'].items()}
    lines = []
    for error, color in _COLORS.items():
        known = [(lead, skill[error]['fused']) for lead, skill in leads.items()
                 if skill[error]['fused']['value'] is not None]
        if known:
            lines.append(Line(
                error, color, [(lead, one['value']) for lead, one in known],
                [None if one['low'] is None else (one['low'], one['high']) for _, one in known]))
    values = [value for line in lines for _, value in line.points]
    if not values:
        return ''
    low, high = min(-0.1, *values), max(0.3, *values)
    return plot(lines, 'seconds ahead', 'skill', (0.0, max(leads)),
                (max(-1.0, low), min(1.0, high)), reference=0.0)


def reliability_plot(scores: dict[str, Any]) -> str:
    """Draw for each bin of confidence how often the class came true."""
    calibration = scores['confidence_calibration']
    points = [(confidence, right) for confidence, right in
              zip(calibration['confidence'], calibration['accuracy'], strict=True)
              if confidence is not None]
    if not points:
        return ''
    return plot([Line('published forecast', '#0b6e99', points)], 'confidence', 'came true',
                (0.0, 1.0), (0.0, 1.0), diagonal=True)


def weight_plot(scores: dict[str, Any]) -> str:
    """Draw for each bin of weight how often a future was the closest one."""
    bins = scores['weights']['reliability']
    points = [(weight, share) for weight, share in
              zip(bins['weight'], bins['best_share'], strict=True) if weight is not None]
    if not points:
        return ''
    return plot([Line('futures', '#7a5195', points)], 'weight', 'was the closest',
                (0.0, 1.0), (0.0, 1.0), diagonal=True)
