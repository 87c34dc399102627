# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The result of an evaluation: all recordings pooled, and each of them alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from deltaworld_ros.bundle import Manifest
from deltaworld_ros.errors import UserError
from deltaworld_ros.evaluate.bag_scores import BagScores
from deltaworld_ros.evaluate.columns import PLAIN_SAMPLES
from deltaworld_ros.evaluate.drive import CLIP_SECONDS, Options
from deltaworld_ros.evaluate.scorebook import pool, scores, skills
from deltaworld_ros.evaluate.scorers import make_scorers
from deltaworld_ros.evaluate.summary import percentiles, strict_json

# What is told of each recording alone; everything is told of all of them together.
_BAG_METRICS = ('feature_error', 'miou', 'miou_common', 'pixel_accuracy', 'depth_rmse',
                'depth_absrel', 'obstacle_error', 'group_iou')


def pooled_result(manifest: Manifest, options: Options,
                  bags: Sequence[BagScores]) -> dict[str, Any]:
    """
    Return every score as a dictionary that is valid JSON; NaN becomes None.

    Raise `UserError` where no forecast of any recording could be scored.
    """
    scored = [bag for bag in bags if bag.scored]
    if not scored:
        raise UserError(_explain_nothing(manifest, bags))
    scorers = make_scorers(manifest)
    clips = [sums for bag in scored for sums in bag.clips.sums.values()]
    leads = scores(scorers, pool(clips))
    for lead, skill in zip(leads, skills(scorers, clips), strict=True):
        lead['skill'] = skill
    truth_of = {
        name: '+'.join(sorted(set().union(*(bag.truth_kinds[name] for bag in scored))))
        for name in ('labels', 'depth')}
    timings = [one for bag in bags for one in bag.report.timings]
    offsets = np.abs([offset for bag in bags for offset in bag.offsets]) / 1e6
    restarts = sum((bag.report.restarts for bag in bags), Counter[str]())
    result: dict[str, Any] = strict_json({
        'bundle': manifest.name,
        **scored[0].setup,
        'source': ', '.join(bag.report.path for bag in bags),
        'truth': 'ground_truth' if 'ground_truth' in truth_of.values() else 'pseudo',
        'truth_of': truth_of,
        'forecasts': sum(bag.scored for bag in bags),
        'unscored': sum(bag.report.unmatched for bag in bags),
        'frames': sum(bag.report.frames for bag in bags),
        'dropped': sum(bag.report.dropped for bag in bags),
        'restarts': sum(restarts.values()),
        'restart_reasons': dict(restarts),
        'truth_offset_ms': {'mean': float(offsets.mean()), 'max': float(offsets.max())},
        'plain_samples': PLAIN_SAMPLES,
        'seed': options.seed,
        'every': options.every,
        'seconds': [options.start, options.end],
        'clips': {'count': len(clips), 'seconds': CLIP_SECONDS},
        'latency_ms': {
            **percentiles([sum(one.values()) for one in timings]),
            'stages_p50': {stage: percentiles([one[stage] for one in timings])['p50']
                           for stage in timings[0]}},
        'leads': {f'{lead:g}': one for lead, one in zip(manifest.leads, leads, strict=True)},
        'weights': leads[-1]['weights'],
        'bags': [_bag_result(manifest, bag) for bag in bags],
    })
    return result


def _bag_result(manifest: Manifest, bag: BagScores) -> dict[str, Any]:
    report = bag.report
    result: dict[str, Any] = {
        'path': report.path, 'topics': report.topics, 'frames': report.frames,
        'forecasts': bag.scored, 'dropped': report.dropped,
        'restarts': sum(report.restarts.values()),
        'depth_scale': [min(report.scales, default=1.0), max(report.scales, default=1.0)],
        'truth_of': {name: '+'.join(sorted(kinds)) for name, kinds in bag.truth_kinds.items()},
        'leads': {},
    }
    if bag.scored:
        own = scores(make_scorers(manifest), pool(bag.clips.sums.values()))
        result['leads'] = {
            f'{lead:g}': {metric: one[metric] for metric in _BAG_METRICS}
            for lead, one in zip(manifest.leads, own, strict=True)}
    return result


def _explain_nothing(manifest: Manifest, bags: Sequence[BagScores]) -> str:
    paths = ', '.join(bag.report.path for bag in bags) or 'no bag'
    needed = (manifest.context_length - 1) * manifest.stride + manifest.leads[-1]
    known = [*(problem for bag in bags for problem in bag.report.problems),
             *(reason for bag in bags for reason in bag.report.restarts)]
    reasons = ''.join(f'; {reason}' for reason in known[:3])
    return (f'{paths}: no forecast could be scored: '
            f'{sum(len(bag.report.timings) for bag in bags)} were made from '
            f'{sum(bag.report.frames for bag in bags)} images; a drive needs at least '
            f'{needed:.1f} s without a gap at {1 / manifest.stride:.0f} images a second or more'
            f'{reasons}')
