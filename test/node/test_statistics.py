# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Counts, rates and ages of a stream."""

from __future__ import annotations

import pytest

from deltaworld_ros.forecast.frame_gate import Odd, Restart
from deltaworld_ros.node.statistics import Statistics


def test_statistics_of_a_stream() -> None:
    now = 100.0
    statistics = Statistics(lambda: now)
    for number in range(101):   # 20 Hz for 5 s
        now = 100 + number * 0.05
        statistics.received()
        if number % 4 == 3:
            statistics.odd(Odd.LATE)
            continue
        statistics.usable()
        if number % 2:
            statistics.accepted(4, True)
            statistics.took({'decode': 10.0 + number % 4})
            statistics.published(0.1 if number < 97 else 0.2, forecast=number % 8 == 1)
        else:
            statistics.dropped()
    snapshot = statistics.snapshot()
    assert (snapshot.received, snapshot.accepted, snapshot.dropped) == (101, 25, 51)
    assert snapshot.odd == snapshot.odd_lately == {Odd.LATE: 25}
    assert snapshot.input_rate == pytest.approx(20, rel=0.02)
    assert snapshot.usable_rate == pytest.approx(15, rel=0.02)
    assert snapshot.output_rate == pytest.approx(5, rel=0.02)
    assert (snapshot.published, snapshot.forecasts) == (25, 13)
    assert snapshot.forecast_rate == pytest.approx(2.6, rel=0.02)
    assert (snapshot.age, snapshot.largest_age) == (0.2, 0.2)
    assert snapshot.percentiles['decode'] == pytest.approx((11.0, 11.0))
    assert snapshot.without_context == pytest.approx(0.15)
    now += 10
    snapshot = statistics.snapshot()
    assert (snapshot.input_rate, snapshot.output_rate, snapshot.age) == (0, 0, None)
    assert snapshot.accepted == 25 and not snapshot.odd_lately
    assert snapshot.without_forecast == pytest.approx(10.15)
    # Whoever begins to listen has not waited yet.
    statistics.wanted(True)
    now += 1
    assert statistics.snapshot().without_forecast == 1 and statistics.snapshot().ahead_wanted


def test_a_failing_engine_shows_until_a_frame_is_computed() -> None:
    statistics = Statistics()
    statistics.engine_failed('out of memory')
    # Observing works, decoding does not: that must not look well in between.
    statistics.accepted(4, True)
    assert statistics.snapshot().engine_failing
    statistics.took({'total': 3.0})
    assert not statistics.snapshot().engine_failing
    assert statistics.snapshot().error == 'out of memory'


def test_restarts_are_counted_by_kind() -> None:
    statistics = Statistics()
    for reason in (Restart.WENT_BACK, Restart.WENT_BACK, Restart.GAP, Restart.CLOCK_JUMPED):
        statistics.accepted(4, True)
        statistics.restarted(reason)
        assert statistics.snapshot().context_fill == 0
    assert statistics.snapshot().restarts == {
        Restart.WENT_BACK: 2, Restart.GAP: 1, Restart.CLOCK_JUMPED: 1}
    statistics.resumed(Restart.GAP)
    snapshot = statistics.snapshot()
    assert Restart.GAP not in snapshot.restarts and Restart.GAP not in snapshot.restarts_lately
    assert snapshot.odd == {Odd.AHEAD: 1}
    statistics.resumed(None)   # its jump had restarted nothing
    assert statistics.snapshot().odd == {Odd.AHEAD: 2}
    assert statistics.snapshot().restarts == {Restart.WENT_BACK: 2, Restart.CLOCK_JUMPED: 1}
