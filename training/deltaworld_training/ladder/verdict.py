# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Compare the order of the rows with the paper's (Tables 2, C and D)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from deltaworld_training.ladder.rows import rows_of

# Differences in mIoU below this are no difference.
ALIKE = 0.005


@dataclass(frozen=True)
class Claim:
    """
    What the paper's tables say of two rows at the mid horizon.

    `first` and `second` are (row, 'best' or 'mean'); `sign` is +1 where the first is better, -1
    where it is worse and 0 where they are alike; `paper` are the differences on both datasets.
    """

    text: str
    first: tuple[str, str]
    second: tuple[str, str]
    sign: int
    paper: str


CLAIMS = (
    Claim('(1) best-of-many: its best beats (0)',
          ('best-of-many', 'best'), ('dino-world', 'best'), 1, '+2.2, +1.4'),
    Claim('(1) best-of-many: its mean falls below (0)',
          ('best-of-many', 'mean'), ('dino-world', 'mean'), -1, '-5.4, -14.3'),
    Claim('(2) frame token: its mean recovers from (1)',
          ('frame-token', 'mean'), ('best-of-many', 'mean'), 1, '+0.9, +4.4'),
    Claim('(2) frame token: its best stays below (1)',
          ('frame-token', 'best'), ('best-of-many', 'best'), -1, '-1.3, -4.1'),
    Claim('(3) delta token: its best beats (2)',
          ('delta-token', 'best'), ('frame-token', 'best'), 1, '+1.1, +6.0'),
    Claim('(3) delta token: its mean beats (2)',
          ('delta-token', 'mean'), ('frame-token', 'mean'), 1, '+4.1, +10.0'),
    Claim('(3) delta token: its best beats (0)',
          ('delta-token', 'best'), ('dino-world', 'best'), 1, '+2.0, +3.3'),
    Claim('(3) delta token: its mean is as good as (0)',
          ('delta-token', 'mean'), ('dino-world', 'mean'), 0, '-0.4, +0.1'),
    Claim('(4) delta token, discriminative: as good as (0)',
          ('delta-discriminative', 'mean'), ('dino-world', 'mean'), 0, '-0.2, +1.5'),
    Claim('(8) delta token in DINO-Foresight: as good as (7)',
          ('foresight-delta', 'mean'), ('foresight', 'mean'), 0, '"matches" (Cityscapes)'),
)


@dataclass(frozen=True)
class Verdict:
    """A claim, the paper's differences, ours (one a seed) and whether they agree."""

    claim: str
    paper: str
    differences: list[float]
    answer: str


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    """Return what each claim of the paper about rows that were trained came to here."""
    found = []
    for claim in CLAIMS:
        if not {claim.first[0], claim.second[0]} <= set(result['rows']):
            continue
        first, second = (
            [run['forecast']['mid'][kind]['miou'] for run in result['rows'][row]]
            for row, kind in (claim.first, claim.second))
        differences = [a - b for a, b in zip(first, second, strict=True)]
        found.append(Verdict(
            claim.text, claim.paper, differences, _answer(claim.sign, differences)))
    return found


def _answer(sign: int, differences: list[float]) -> str:
    """Say whether all seeds, some or none agree with the sign."""
    if sign == 0:
        agree = [d > -ALIKE for d in differences]
    else:
        agree = [sign * d > ALIKE for d in differences]
    if all(agree):
        return 'yes'
    return 'no' if not any(agree) else 'not with every seed'


def observations(result: dict[str, Any]) -> list[str]:
    """Return what was measured that likely explains where the paper's order does not show."""
    copied = result['bounds']['copy_last']['mid']['best']['miou']
    base = result['rows'].get('dino-world')
    spatial = _mean(base, 'forecast', 'best') if base else -np.inf
    found = []
    for row in rows_of(result):
        runs = result['rows'][row.key]
        best, mean = (_mean(runs, 'forecast', kind) for kind in ('best', 'mean'))
        if mean < copied - ALIKE:
            found.append(
                f'{row.title}: its mean ({mean:.3f}) stays below copy last ({copied:.3f}), so '
                'at this budget it has not learned to keep what it sees.')
        if 'reconstruction' in runs[0] and not row.learned_query:
            held = _mean(runs, 'reconstruction', 'best')
            if held < copied + ALIKE:
                found.append(
                    f'{row.title}: the tokens of the true future, decoded, reach {held:.3f} where '
                    f'copy last reaches {copied:.3f}: the tokenizer and not the predictor limits '
                    'this row.')
            elif held < spatial + ALIKE:
                found.append(
                    f'{row.title}: the tokens of the true future, decoded, reach {held:.3f} and '
                    f'row (0) {spatial:.3f}: even a perfect predictor of these tokens would not '
                    'pass it.')
        if not row.learned_query and best - mean < ALIKE:
            found.append(
                f'{row.title}: best ({best:.3f}) and mean ({mean:.3f}) hardly differ, so its '
                'samples hardly do: the noise has little effect yet.')
    return found


def _mean(runs: list[dict[str, Any]], part: str, kind: str) -> float:
    return sum(run[part]['mid'][kind]['miou'] for run in runs) / len(runs)
