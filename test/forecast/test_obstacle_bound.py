# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The adaptive bound on made-up errors: it holds as promised, and says where it does not."""

from __future__ import annotations

import numpy as np

from deltaworld_ros.forecast.obstacle_bound import KEPT, LEAST, RATE, ObstacleBound

COLUMNS, FAR = 40, 80.0


def run(spreads: list[float], seed: int = 0) -> tuple[np.ndarray, list[bool], np.ndarray]:
    """Forecast truths with errors of these spreads; return coverages, alarms, mean bounds."""
    rng = np.random.default_rng(seed)
    bound = ObstacleBound(FAR)
    held, alarms, tightness = [], [], []
    for spread in spreads:
        truth = rng.uniform(5, 60, COLUMNS)
        forecast = np.minimum(truth * np.exp(spread * rng.standard_normal(COLUMNS)), FAR)
        lower = bound.bound(forecast)
        if lower is not None:
            held.append(np.mean(truth >= lower))
            tightness.append(np.mean(lower / truth))
            alarms.append(bound.alarm)
        bound.learn(forecast, lower, truth)
    return np.array(held), alarms, np.array(tightness)


def test_it_holds_as_often_as_promised() -> None:
    held, alarms, tightness = run([0.2] * 1500)
    assert len(held) == 1500 - LEAST
    assert abs(held.mean() - 0.95) < 0.01 and not any(alarms)
    assert 0.6 < tightness.mean() < 0.9    # not by promising nothing
    surer = run([0.02] * 300)[2]
    assert surer[50:].mean() > 0.94


def test_it_follows_a_change_and_says_so_meanwhile() -> None:
    held, alarms, _ = run([0.05] * 300 + [0.6] * 700)
    change = 300 - LEAST
    assert held[change:change + 3].max() < 0.7
    assert any(alarms[change:change + 10]) and not any(alarms[:change])
    assert not any(alarms[-300:]) and abs(held[-300:].mean() - 0.95) < 0.02


def test_it_is_what_a_few_plain_lines_compute() -> None:
    rng = np.random.default_rng(1)
    bound, level, errors = ObstacleBound(FAR), 0.05, []
    for number in range(KEPT + 40):
        truth, forecast = rng.uniform(5, 60, (2, COLUMNS))
        lower = bound.bound(forecast)
        if number < LEAST:
            assert lower is None
        elif level <= 0:
            assert not lower.any()
        else:
            ordered = np.sort(np.concatenate(errors[-KEPT:]))
            place = (1 - level) * (ordered.size - 1)
            below, above = ordered[int(place)], ordered[int(np.ceil(place))]
            quantile = below + (place - int(place)) * (above - below)
            np.testing.assert_allclose(lower, np.minimum(forecast * (1 - quantile), FAR))
        bound.learn(forecast, lower, truth)
        errors.append(1 - truth / forecast)
        if lower is not None:
            level += RATE * (0.05 - np.mean(truth < lower))


def test_columns_without_a_truth_teach_nothing() -> None:
    bound, nothing = ObstacleBound(FAR), np.zeros(0)
    for _ in range(50):
        bound.learn(nothing, None, nothing)
    assert bound.bound(np.ones(3)) is None and not bound.alarm
