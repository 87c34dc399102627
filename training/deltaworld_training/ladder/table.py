# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The ladder's tables in Markdown."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from deltaworld_training.diversity.tables import COLUMNS
from deltaworld_training.ladder.rows import ROWS, rows_of
from deltaworld_training.ladder.verdict import observations, verdicts

METRICS = (('mIoU', 'miou', 3), ('depth RMSE (m)', 'depth_rmse', 2))
HORIZONS = ('short', 'mid')
DIVERSITY = ('coverage', 'precision', 'energy_distance', 'calibration_error', 'spread')


def ladder_tables(result: dict[str, Any]) -> str:
    """Return the report: main table, both seeds, reconstructions, order and scaling."""
    budget = result['budget']
    leads = (budget['stride'], budget['stride'] * budget['steps'])
    return '\n\n'.join([
        f'# The ladder at the budget `{budget["name"]}`',
        f'Written by `deltaworld train ladder`. Best of {budget["samples"]} samples, mean in '
        f'parentheses, as means over {result["seeds"]} seeds; short is {leads[0]:.1f} s ahead and '
        f'mid {leads[1]:.1f} s. {result["test_clips"]} clips of the unseen test split with true '
        f'labels and depth; {result["train_clips"]} training clips. Every tokenizer had '
        f'{budget["tokenizer_learning"]["steps"]} steps of '
        f'{budget["tokenizer_learning"]["batch"]} windows of {budget["frames"]} frames, every '
        f'predictor {budget["predictor_learning"]["steps"]} steps of '
        f'{budget["predictor_learning"]["batch"]}, with K = {budget["candidates"]} candidates '
        f'where there are any. Device: {result["device"]}.',
        _main(result),
        "Time and memory are of the predictor's training step, relative to row (0); time is "
        + ('wall time' if result['device'] != 'CPU' else 'the time of all cores together')
        + ". The tokenizer's training comes on top, in the last column, relative to the whole "
        'predictor training of row (0). GFLOPs are those of one mid-horizon forecast with all '
        'samples, as `docs/cost.md` counts them.',
        '## Does the order of the paper show?', _order(result),
        '## Each seed', _seeds(result),
        *_reconstructions(result),
        *_diversity(result),
        *_scaling(result, leads[1]),
    ]) + '\n'


def _main(result: dict[str, Any]) -> str:
    heads = ['', *(f'{name}, {horizon}' for name, _, _ in METRICS for horizon in HORIZONS),
             'GFLOPs', 'time', 'memory', 'tokenizer']
    lines = [_bound('copy last', result['bounds']['copy_last'])]
    base = result['rows'].get(ROWS[0].key, [])
    for row in rows_of(result):
        runs = result['rows'][row.key]
        lines.append([
            row.title, *_scores(runs, 'forecast', single=row.learned_query),
            f'{_mean(run["gflops"]["total"] for run in runs):.3g}',
            _relative(runs, base, 'training', 'step_seconds'),
            _relative(runs, base, 'training', 'peak_bytes'),
            _relative(runs, base, 'tokenizer_training', 'seconds'),
        ])
    lines.append(_bound('heads on the true future (oracle)', result['bounds']['oracle']))
    return _markdown(heads, lines)


def _bound(title: str, scores: dict[str, Any]) -> list[str]:
    values = [f'{scores[horizon]["best"][key]:.{digits}f}'
              for _, key, digits in METRICS for horizon in HORIZONS]
    return [title, *values, '', '', '', '']


def _scores(runs: Sequence[dict[str, Any]], part: str, single: bool) -> list[str]:
    """Return the cells 'best (mean)' of all metrics and horizons, or one value if single."""
    cells = []
    for _, key, digits in METRICS:
        for horizon in HORIZONS:
            best, mean = (
                _mean(run[part][horizon][kind][key] for run in runs)
                for kind in ('best', 'mean'))
            cells.append(
                f'{best:.{digits}f}' if single else f'{best:.{digits}f} ({mean:.{digits}f})')
    return cells


def _relative(
    runs: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]], part: str, key: str,
) -> str:
    own = [run[part][key] for run in runs if run[part]]
    whole = [run['training'][key] for run in base]
    if not own or not whole or None in own or None in whole or _mean(whole) <= 0:
        return '-'
    return f'{_mean(own) / _mean(whole):.2f}x'


def _seeds(result: dict[str, Any]) -> str:
    heads = ['', 'seed', *(f'{name}, {horizon}' for name, _, _ in METRICS for horizon in HORIZONS),
             'ms a step', 'peak MB']
    lines = []
    for row in rows_of(result):
        for run in result['rows'][row.key]:
            peak = run['training']['peak_bytes']
            lines.append([
                row.title, str(run['seed']), *_scores([run], 'forecast', row.learned_query),
                f'{1e3 * run["training"]["step_seconds"]:.0f}',
                '-' if peak is None else f'{peak / 1e6:.0f}'])
    return _markdown(heads, lines)


def _reconstructions(result: dict[str, Any]) -> list[str]:
    """Return the section on the tokenizers, where any sampled row has one."""
    heads = ['', *(f'{name}, {horizon}' for name, _, _ in METRICS for horizon in HORIZONS),
             'feature error, mid (copy last = 1)']
    lines = []
    for row in rows_of(result):
        runs = result['rows'][row.key]
        if row.learned_query or 'reconstruction' not in runs[0]:
            continue
        error = _mean(run['reconstruction']['mid']['best']['feature_error'] for run in runs)
        lines.append([row.title, *_scores(runs, 'reconstruction', True), f'{error:.3f}'])
    if not lines:
        return []
    return [
        '## What the tokens of the true future hold',
        'Tokens of the true future frames, decoded as a rollout would be: what a perfect '
        'predictor of these tokens would reach.', _markdown(heads, lines)]


def _scaling(result: dict[str, Any], lead: float) -> list[str]:
    """Return the section on numbers of candidates, where they were trained."""
    if not result['scaling']:
        return []
    counts = list(result['scaling'][0]['scores'])
    lines = [[
        f'K = {run["candidates"]}',
        *('{:.3f} ({:.3f})'.format(*(
            run['scores'][count]['mid'][kind]['miou'] for kind in ('best', 'mean')))
          for count in counts),
        f'{1e3 * run["training"]["step_seconds"]:.0f}']
        for run in result['scaling']]
    table = _markdown(
        ['trained with', *(f'{count} samples' for count in counts), 'ms a step'], lines)
    return [
        '## Best-of-many: candidates in training against samples in evaluation',
        f'DeltaWorld, seed 0, {lead:.1f} s: mIoU of the best (mean).', table]


def _diversity(result: dict[str, Any]) -> list[str]:
    """Return the section on true futures, as means over the seeds, where they were measured."""
    pasts = result['budget']['diversity_pasts']
    if not pasts:
        return []
    keys = [(key, heading) for key, heading in COLUMNS if key in DIVERSITY]
    copied = result['bounds']['copy_last']['diversity']
    lines = [['copy last', *(f'{copied[key]:.3f}' for key, _ in keys)]]
    lines += [
        [row.title, *(
            f'{_mean(run["diversity"][key] for run in result["rows"][row.key]):.3f}'
            for key, _ in keys)]
        for row in rows_of(result)]
    return [
        '## Against all true futures',
        f'{pasts} pasts of the test split whose future is open; {result["budget"]["samples"]} '
        'samples of equal weight at the mid horizon (see `docs/sampling.md`).',
        _markdown(['', *(heading for _, heading in keys)], lines)]


def _order(result: dict[str, Any]) -> str:
    lines = [[v.claim, f'{v.paper}', ', '.join(f'{d:+.3f}' for d in v.differences), v.answer]
             for v in verdicts(result)]
    table = _markdown(
        ['claim, at the mid horizon', 'paper: VSPW, Cityscapes (mIoU, %)',
         'here: difference in mIoU (0 to 1), each seed', 'does it show?'], lines)
    likely = '\n'.join(f'* {line}' for line in observations(result))
    if not likely:
        return table
    return f'{table}\n\nWhat was measured that likely explains it:\n\n{likely}'


def _markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return '\n'.join(
        '| ' + ' | '.join(cells) + ' |' for cells in [heads, ['---'] * len(heads), *lines])


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))
