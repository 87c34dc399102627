# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report: one HTML file that explains the forecasts of a drive with pictures and scores."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from deltaworld_ros import __version__
from deltaworld_ros.bundle import Bundle
from deltaworld_ros.bundle.semantic_class import SemanticClass
from deltaworld_ros.bundle.whole_file import write_whole
from deltaworld_ros.engine import PaintingGraph
from deltaworld_ros.evaluate.bag_scores import BagScores
from deltaworld_ros.evaluate.moments import SLIDER_MOMENTS, Moment
from deltaworld_ros.evaluate.pairs import UNLABELLED
from deltaworld_ros.evaluate.pictures import (
    data_uri,
    future_pictures,
    moment_pictures,
    slider_pictures,
)
from deltaworld_ros.evaluate.report_scores import (
    reliability_plot,
    skill_plot,
    skill_rows,
    table_view,
    verdict,
    weight_plot,
)
from deltaworld_ros.evaluate.results import spread_moments, worst_moments
from deltaworld_ros.evaluate.tables import (
    ScoreTable,
    bound_line,
    obstacle_tables,
    score_tables,
)

_TEMPLATES = Path(__file__).parent / 'templates'
# Moments that are shown with all of their pictures, of those that the slider shows.
_DETAILED = 6


@dataclass(frozen=True)
class Fact:
    """One figure of the head of the report."""

    value: str
    name: str
    explanation: str


@dataclass(frozen=True)
class Content:
    """
    All that a report shows.

    `how` is one sentence on how the forecasts were made; `ground_truth` says whether the truth
    came with the recording, `metres` whether its camera is known, so that depth has a unit.
    `result` is that of an offline evaluation, empty for the demo. `worst` are losses (share of
    pixels) and moments. `painter` makes pictures of the moments' features.
    """

    source: str
    bundle: str
    classes: Sequence[SemanticClass]
    leads: Sequence[float]
    facts: Sequence[Fact]
    tables: Sequence[ScoreTable]
    moments: Sequence[Moment]
    ground_truth: bool
    how: str
    metres: bool = True
    animation: Path | None = None
    result: dict[str, Any] = field(default_factory=dict)
    worst: Sequence[tuple[float, Moment]] = ()
    painter: PaintingGraph | None = None


def write_report(path: Path, content: Content) -> None:
    """Write a self-contained HTML file: every picture is inside it, and nothing is fetched."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    one = content
    places = np.linspace(0, len(one.moments) - 1, min(_DETAILED, len(one.moments)))
    detailed = [one.moments[round(place)] for place in places]
    several = len({moment.recording for moment in one.moments}) > 1
    text = environment.get_template('report.html.j2').render(
        version=__version__, source=one.source, bundle=one.bundle, how=one.how, facts=one.facts,
        ground_truth=one.ground_truth, metres=one.metres, last_lead=f'{one.leads[-1]:g}',
        leads=[f'{lead:g}' for lead in one.leads],
        tables=[table_view(table) for table in one.tables], verdict=verdict(one.tables[-1]),
        has_feature_error=any(
            metric.key == 'feature_error' for metric in one.tables[-1].metrics),
        seen_classes=_seen_classes([*one.moments, *(moment for _, moment in one.worst)],
                                   one.classes),
        slider=_slider(one.moments, one.classes),
        moments=[_moment_view(moment, one.classes, several, one.painter) for moment in detailed],
        worst=[{'loss': f'{100 * loss:.1f}',
                **_moment_view(moment, one.classes, several, one.painter)}
               for loss, moment in one.worst if loss > 0],
        **_offline(one.result), **_animation(one.animation))
    write_whole(path, text)


def write_evaluation_report(path: Path, bundle: Bundle, result: dict[str, Any],
                            bags: Sequence[BagScores]) -> None:
    """Write the report of an offline evaluation: its result and what it was pooled from."""
    manifest = bundle.manifest
    latency = result['latency_ms']
    facts = [
        Fact(str(result['forecasts']), 'forecasts scored',
             f'from {result["frames"]} pictures; each compared with the picture that came'),
        Fact(f'{latency["p50"]:.0f} ms', 'for one forecast',
             f'median; 95 % within {latency["p95"]:.0f} ms, {result["engine"]}'),
        Fact(f'{result["num_samples"]}', 'futures sampled',
             f'of which {result["num_futures"]} are chosen and decoded'),
        Fact(f'{result["restarts"]}', 'restarts of the context',
             f'{result["dropped"]} pictures could not be read'),
    ]
    metres = result['depth_unit'] == 'm'
    write_report(path, Content(
        source=', '.join(Path(bag['path']).name for bag in result['bags']),
        bundle=result['bundle'], classes=manifest.classes, leads=manifest.leads, facts=facts,
        tables=score_tables(
            {f'{lead:g}': result['leads'][f'{lead:g}'] for lead in manifest.leads},
            metres=metres),
        moments=spread_moments(bags, SLIDER_MOMENTS),
        ground_truth=result['truth'] == 'ground_truth', metres=metres,
        how='Here the recording was fed to the model picture by picture, without ROS.',
        result=result, worst=worst_moments(bags, _DETAILED), painter=PaintingGraph.of(bundle)))


def _offline(result: dict[str, Any]) -> dict[str, Any]:
    """Return what only an offline evaluation knows."""
    if not result:
        return {'weights': [], 'skills': [], 'skill_plot': '', 'reliability': '', 'obstacles': [],
                'bags': [], 'ece': '', 'weight_plot': '', 'bound': ''}
    weights = result['weights']
    last = list(result['leads'].values())[-1]
    error = last['confidence_calibration']['error']
    obstacles = obstacle_tables(result['leads'], metres=result['depth_unit'] == 'm')[-1]
    return {
        'weights': list(zip(*([f'{100 * share:.0f}' for share in weights[key]]
                              for key in ('mean_weight', 'best_share')), strict=True)),
        'skills': skill_rows(result), 'skill_plot': skill_plot(result),
        'reliability': reliability_plot(last), 'ece': '' if error is None else f'{error:.3f}',
        'weight_plot': weight_plot(last), 'obstacles': [table_view(obstacles)],
        'bound': f'{bound_line(last["obstacle_bound"])}.',
        'bags': [_bag_view(bag) for bag in result['bags']] if len(result['bags']) > 1 else [],
    }


def _bag_view(bag: dict[str, Any]) -> dict[str, str]:
    right = list(bag['leads'].values())[-1]['pixel_accuracy'] if bag['leads'] else {}
    cells = {name: '-' if right.get(name) is None else f'{100 * right[name]:.1f} %'
             for name in ('fused', 'copy_last')}
    truth = 'ground truth' if 'ground_truth' in bag['truth_of'].values() else 'pseudo truth'
    return {'name': Path(bag['path']).name, 'forecasts': str(bag['forecasts']),
            'truth': truth if bag['leads'] else bag.get('error', 'no forecast'), **cells}


def _animation(path: Path | None) -> dict[str, Any]:
    """Return the animation and the shares of it that one of its three panels takes."""
    if path is None:
        return {'animation': '', 'panel': {}}
    with Image.open(path) as picture:
        width, height = picture.size
    panel = (width - 12) / 3
    return {'animation': f'data:image/webp;base64,{base64.b64encode(path.read_bytes()).decode()}',
            'panel': {'zoom': f'{100 * width / panel:.2f}', 'aspect': f'{panel / height:.4f}'}}


def _slider(moments: Sequence[Moment], classes: Sequence[SemanticClass]) -> list[dict[str, Any]]:
    several = len({moment.recording for moment in moments}) > 1
    return [{'place': _place(moment, several), 'lead': f'{moment.lead:g}',
             'right': _percent_right(moment.fused_labels, moment),
             'copyRight': _percent_right(moment.present_labels, moment),
             **slider_pictures(moment, classes)} for moment in moments]


def _place(moment: Moment, several: bool) -> str:
    """Say when it was, and in which of several recordings."""
    return f'{moment.seconds:.1f} s into {moment.recording if several else "the drive"}'


def _moment_view(moment: Moment, classes: Sequence[SemanticClass], several: bool,
                 painter: PaintingGraph | None) -> dict[str, Any]:
    painted: Sequence[np.ndarray] = ()
    if painter is not None and len(moment.features):
        painted = list(painter.paint(moment.features.astype(np.float32)))
    pictures = future_pictures(moment, classes)
    # Bars under the futures are drawn relative to the heaviest one.
    heaviest = float(moment.weights.max())
    return {
        'place': _place(moment, several),
        'lead': f'{moment.lead:g}',
        'pictures': moment_pictures(moment, classes),
        'futures': [
            {'picture': picture, 'percent': f'{100 * weight:.0f}',
             'bar': f'{100 * weight / heaviest:.0f}'}
            for picture, weight in zip(pictures, moment.weights, strict=True)],
        'painted': [
            {'picture': data_uri(picture), 'percent': f'{100 * weight:.0f}'}
            for picture, weight in zip(painted, moment.weights, strict=False)],
        'right': _percent_right(moment.fused_labels, moment),
        'copy_right': _percent_right(moment.present_labels, moment),
    }


def _percent_right(labels: np.ndarray, moment: Moment) -> str:
    known = moment.true_labels != UNLABELLED
    right = (labels == moment.true_labels)[known]
    return f'{100 * float(right.mean()):.1f}' if known.any() else '-'


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
