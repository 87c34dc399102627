# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Figures that others published for the benchmark: nothing here was measured by this project."""

from dataclasses import dataclass

PAPER = 'paper, table 3'
RELEASE = 'released weights, as published'
# The paper cites Cosmos, whose code and protocol are others'.
CITED = 'paper, table 3; Cosmos, cited'


@dataclass(frozen=True)
class CitedRow:
    """Values by benchmark and horizon: mIoU in percent, or RMSE in metres."""

    title: str
    source: str
    short: dict[str, float]
    mid: dict[str, float]


def _row(title: str, source: str, short: tuple[float, float, float],
         mid: tuple[float, float, float]) -> CitedRow:
    names = ('vspw', 'cityscapes', 'kitti')
    return CitedRow(title, source, dict(zip(names, short, strict=True)),
                    dict(zip(names, mid, strict=True)))


CITED_ROWS = (
    _row('heads on true features', RELEASE, (58.4, 70.5, 2.79), (58.4, 70.5, 2.79)),
    _row('tokenizer reconstruction', RELEASE, (58.6, 69.6, 2.78), (58.5, 67.9, 2.86)),
    _row('copy-last', RELEASE, (51.2, 53.5, 3.76), (44.3, 39.6, 4.86)),
    _row('DeltaWorld, best of 20', RELEASE, (56.3, 66.2, 2.95), (51.5, 55.3, 3.71)),
    _row('DeltaWorld, mean of 20', RELEASE, (54.2, 64.2, 3.32), (46.6, 49.5, 4.74)),
    _row('DeltaWorld, best of 20', PAPER, (55.4, 65.8, 3.00), (50.1, 55.4, 3.88)),
    _row('DeltaWorld, mean of 20', PAPER, (53.7, 63.9, 3.17), (46.7, 51.3, 4.17)),
    _row('DINO-world', PAPER, (54.0, 62.0, 3.16), (47.9, 49.8, 4.07)),
    _row('Cosmos-4B, best of 20', CITED, (51.1, 55.1, 3.82), (47.0, 49.1, 4.08)),
    _row('Cosmos-4B, mean of 20', CITED, (49.7, 54.9, 3.75), (44.5, 48.4, 4.14)),
    _row('Cosmos-12B, best of 20', CITED, (51.7, 55.3, 3.72), (47.7, 53.3, 4.01)),
    _row('Cosmos-12B, mean of 20', CITED, (50.7, 56.0, 3.71), (45.5, 51.2, 4.14)),
)
