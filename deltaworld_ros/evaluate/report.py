# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report: one HTML file that explains the forecasts of a drive with pictures and scores."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from deltaworld_ros import __version__
from deltaworld_ros.bundle.manifest import Manifest, SemanticClass
from deltaworld_ros.evaluate.moments import Moment
from deltaworld_ros.evaluate.pairs import UNLABELLED
from deltaworld_ros.evaluate.pictures import future_pictures, moment_pictures
from deltaworld_ros.evaluate.tables import ScoreTable

_TEMPLATES = Path(__file__).parent / 'templates'


@dataclass(frozen=True)
class Fact:
    """One figure of the head of the report."""

    value: str
    name: str
    explanation: str


def write_report(path: Path, *, source: str, bundle: str, classes: Sequence[SemanticClass],
                 leads: Sequence[float], facts: Sequence[Fact], tables: Sequence[ScoreTable],
                 moments: Sequence[Moment], ground_truth: bool, how: str,
                 animation: Path | None = None, weights: dict[str, Any] | None = None) -> None:
    """
    Write a self-contained HTML file: every picture is inside it.

    `how` is one sentence on how the forecasts were made; `ground_truth` says whether the truth
    came with the recording; `weights` are those of `WeightScore`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = environment.get_template('report.html.j2').render(
        version=__version__, source=source, bundle=bundle, how=how, facts=facts,
        ground_truth=ground_truth, last_lead=f'{leads[-1]:g}',
        leads=[f'{lead:g}' for lead in leads],
        tables=[_table_view(table) for table in tables],
        verdict=_verdict(tables[-1]),
        has_feature_error=any(metric.key == 'feature_error' for metric in tables[-1].metrics),
        seen_classes=_seen_classes(moments, classes),
        moments=[_moment_view(moment, classes) for moment in moments],
        weights=[] if weights is None else list(zip(
            *([f'{100 * share:.0f}' for share in weights[key]]
              for key in ('mean_weight', 'best_share')), strict=True)),
        animation='' if animation is None else
        f'data:image/webp;base64,{base64.b64encode(animation.read_bytes()).decode()}')
    path.write_text(text, encoding='utf-8')


def write_evaluation_report(path: Path, manifest: Manifest, result: dict[str, Any],
                            tables: Sequence[ScoreTable], moments: Sequence[Moment]) -> None:
    """Write the report of an offline evaluation (`Evaluator.result`)."""
    latency = result['latency_ms']
    facts = [
        Fact(str(result['forecasts']), 'forecasts scored',
             f'from {result["frames"]} pictures; each compared with the picture that came'),
        Fact(f'{latency["p50"]:.0f} ms', 'for one forecast',
             f'median; 95 % within {latency["p95"]:.0f} ms, {result["engine"]}'),
        Fact(f'{result["num_samples"]}', 'futures sampled',
             f'of which {result["num_futures"]} are chosen and decoded'),
        Fact(f'{result["restarts"]}', 'restarts of the memory',
             f'{result["dropped"]} pictures could not be read'),
    ]
    write_report(
        path, source=', '.join(Path(bag['path']).name for bag in result['bags']),
        bundle=result['bundle'], classes=manifest.classes, leads=manifest.leads, facts=facts,
        tables=tables, moments=moments, ground_truth=result['truth'] == 'ground_truth',
        how='Here the recording was fed to the model picture by picture, without ROS.',
        weights=result['weights'])


def _moment_view(moment: Moment, classes: Sequence[SemanticClass]) -> dict[str, Any]:
    known = moment.true_labels != UNLABELLED
    pictures = future_pictures(moment, classes)
    # Bars under the futures are drawn relative to the heaviest one.
    heaviest = float(moment.weights.max())
    return {
        'seconds': f'{moment.seconds:.1f}',
        'lead': f'{moment.lead:g}',
        'pictures': moment_pictures(moment, classes),
        'futures': [
            {'picture': picture, 'percent': f'{100 * weight:.0f}',
             'bar': f'{100 * weight / heaviest:.0f}'}
            for picture, weight in zip(pictures, moment.weights, strict=True)],
        'right': _percent_right(moment.fused_labels, moment.true_labels, known),
        'copy_right': _percent_right(moment.present_labels, moment.true_labels, known),
    }


def _percent_right(labels: np.ndarray, truth: np.ndarray, known: np.ndarray) -> str:
    return f'{100 * float((labels == truth)[known].mean()):.1f}' if known.any() else '-'


def _table_view(table: ScoreTable) -> dict[str, Any]:
    """Mark in each column the best value that a robot could have had."""
    marked = []
    for column, metric in enumerate(table.metrics):
        fair = [(value, row.name) for row in table.rows
                if not row.afterwards and (value := row.values[column]) is not None]
        choose = max if metric.higher_is_better else min
        marked.append(choose(fair)[1] if fair else None)
    return {
        'lead': table.lead,
        'headings': [(metric.heading, metric.higher_is_better) for metric in table.metrics],
        'rows': [
            {'title': row.title, 'meaning': row.meaning, 'own': row.name == 'fused',
             'cells': [(text, marked[column] == row.name)
                       for column, text in enumerate(table.cells(row.values))]}
            for row in table.rows],
    }


def _verdict(table: ScoreTable) -> list[str]:
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
            f'{judged} copy last with {factor * still:{digits}}{unit}.')
    return sentences


def _seen_classes(moments: Sequence[Moment],
                  classes: Sequence[SemanticClass]) -> list[dict[str, str]]:
    shown = set()
    for moment in moments:
        for labels in (moment.true_labels, moment.fused_labels, moment.present_labels,
                       moment.labels):
            shown.update(np.unique(labels).tolist())
    return [{'name': entry.name.replace('_', ' '), 'color': '#{:02x}{:02x}{:02x}'.format(
        *entry.color)}
            for index, entry in enumerate(classes) if index in shown]
