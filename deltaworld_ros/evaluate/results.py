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
from deltaworld_ros.evaluate.bound_coverage import NAME, bound_scores
from deltaworld_ros.evaluate.columns import PLAIN_SAMPLES
from deltaworld_ros.evaluate.drive import CLIP_SECONDS, Options
from deltaworld_ros.evaluate.moments import Moment
from deltaworld_ros.evaluate.rolling_on import all_leads
from deltaworld_ros.evaluate.scorebook import pool, scores, skills
from deltaworld_ros.evaluate.scorers import make_scorers
from deltaworld_ros.evaluate.summary import percentiles, strict_json
from deltaworld_ros.forecast.frame_gate import Odd

# What is told of each recording alone; everything is told of all of them together.
_BAG_METRICS = ('feature_error', 'miou', 'miou_common', 'pixel_accuracy', 'depth_rmse',
                'depth_absrel', 'obstacle_error', 'group_iou')


def pooled_result(manifest: Manifest, options: Options,
                  bags: Sequence[BagScores]) -> dict[str, Any]:
    """
    Return every score as a dictionary that is valid JSON; NaN becomes None.

    Raise `UserError` where no forecast of any recording could be scored.
    """
    leads_s = all_leads(manifest, options.horizon)
    scored = [bag for bag in bags if bag.scored]
    if not scored:
        raise UserError(_explain_nothing(manifest, options, bags))
    scorers = make_scorers(manifest)
    clips = [sums for bag in scored for sums in bag.clips.sums.values()]
    pooled = pool(clips)
    leads = scores(scorers, pooled)
    for lead, sums, skill in zip(leads, pooled, skills(scorers, clips), strict=True):
        lead['skill'] = skill
        lead['obstacle_bound'] = bound_scores(sums[NAME])
    truth_of = {
        name: '+'.join(sorted(set().union(*(bag.truth_kinds[name] for bag in scored))))
        for name in ('labels', 'depth')}
    timings = [one for bag in bags for one in bag.report.timings]
    offsets = np.abs([offset for bag in bags for offset in bag.offsets]) / 1e6
    restarts = sum((bag.report.restarts for bag in bags), Counter[str]())
    odd_frames = sum((bag.report.odd_frames for bag in bags), Counter[str]())
    result: dict[str, Any] = strict_json({
        'bundle': manifest.name,
        **scored[0].setup,
        'source': ', '.join(bag.report.path for bag in bags),
        'truth': 'ground_truth' if 'ground_truth' in truth_of.values() else 'pseudo',
        'truth_of': truth_of,
        'depth_unit': 'm' if all(bag.report.scaled for bag in scored) else 'unscaled',
        'forecasts': sum(bag.scored for bag in bags),
        'unscored': sum(bag.report.unmatched for bag in bags),
        'frames': sum(bag.report.frames for bag in bags),
        'dropped': sum(bag.report.dropped for bag in bags),
        'restarts': sum(restarts.values()),
        'restart_reasons': dict(restarts),
        'odd_frames': dict(odd_frames),
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
        'leads': {f'{lead:g}': one for lead, one in zip(leads_s, leads, strict=True)},
        'weights': leads[manifest.steps - 1]['weights'],
        'profile_s': _profile(bags),
        'bags': [_bag_result(manifest, leads_s, bag) for bag in bags],
    })
    return result


def _bag_result(manifest: Manifest, leads: Sequence[float], bag: BagScores) -> dict[str, Any]:
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
            for lead, one in zip(leads, own, strict=True)}
    if bag.error:
        result['error'] = bag.error
    return result


def problems(bags: Sequence[BagScores]) -> list[str]:
    """Return what was left out of the recordings, a line each."""
    return [line for bag in bags
            for line in (*bag.report.problems, *([bag.error] if bag.error else []))]


def spread_moments(bags: Sequence[BagScores], wanted: int) -> list[Moment]:
    """Return at most the wanted number of moments, evenly spread over the recordings."""
    moments = [moment for bag in bags for moment in bag.moments]
    places = np.linspace(0, len(moments) - 1, min(wanted, len(moments)))
    return [moments[round(place)] for place in places]


def worst_moments(bags: Sequence[BagScores], wanted: int) -> list[tuple[float, Moment]]:
    """Return the worst moments of all recordings and their losses, the worst first."""
    every = [one for bag in bags for one in bag.worst]
    return sorted(every, key=lambda one: -one[0])[:wanted]


def _profile(bags: Sequence[BagScores]) -> dict[str, float]:
    """Add the wall times up, and say what share of them was inside the graphs."""
    total: Counter[str] = Counter()
    for bag in bags:
        total.update(bag.profile)
    inside = sum(total[graph] for graph in ('observe', 'rollout', 'decode'))
    return {**total, 'graph_share': inside / total['total'] if total['total'] else float('nan')}


def _explain_nothing(manifest: Manifest, options: Options, bags: Sequence[BagScores]) -> str:
    if len(bags) == 1 and bags[0].error:
        return bags[0].error
    paths = ', '.join(bag.report.path for bag in bags) or 'no bag'
    needed = (manifest.context_length - 1) * manifest.stride + manifest.leads[-1]
    known = [*problems(bags), *(reason for bag in bags for reason in bag.report.restarts),
             *(_left_out(bag) for bag in bags if bag.report.odd_frames)]
    if not any(bag.report.frames for bag in bags) and options.start > 0:
        known.append(f'no image comes {options.start:g} s or more after the first one (--start)')
    reasons = ''.join(f'; {reason}' for reason in known[:3])
    return (f'{paths}: no forecast could be scored: '
            f'{sum(len(bag.report.timings) for bag in bags)} were made from '
            f'{sum(bag.report.frames for bag in bags)} images; a drive needs at least '
            f'{needed:.1f} s without a gap at {1 / manifest.stride:.0f} images a second or more'
            f'{reasons}')


def _left_out(bag: BagScores) -> str:
    report = bag.report
    if report.odd_frames[Odd.REPEATED.value] == report.frames - 1:
        return 'all images have the same stamp: their driver must set header.stamp'
    return 'images left out: ' + ', '.join(
        f'{count} with {kind}' for kind, count in report.odd_frames.items())
