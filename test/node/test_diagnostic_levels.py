# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Diagnostics name every cause, and each has a remedy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deltaworld_ros.forecast.frame_gate import Odd, Restart
from deltaworld_ros.forecast.live_bound import LeadBound
from deltaworld_ros.forecast.self_score import LeadScore
from deltaworld_ros.node.diagnostic_levels import REMEDIES, Limits, Situation, judge
from deltaworld_ros.node.diagnostic_messages import values
from deltaworld_ros.node.parameter_table import NEVER
from deltaworld_ros.node.statistics import Statistics


def diagnose(change: Any = None, limits: Any = None, **situation: Any) -> tuple[int, str]:
    statistics = Statistics()
    statistics.received()
    statistics.accepted(4, True)
    snapshot = replace(statistics.snapshot(), **{
        'input_rate': 20.0, 'usable_rate': 20.0, **(change or {})})
    values: dict[str, Any] = {
        'state': 'active', 'startup_error': '', 'bundle': 'tiny', 'engine': 'some',
        'context_length': 4, 'stride': 0.2, 'depth_scale': 1.0, 'camera_problem': 'none came',
        **situation}
    return judge(snapshot, Situation(**values), Limits(*(limits or (0.4, 1.0, 2.0, 0.0))))


def lead_score(skill: float, forecasts: int = 5) -> LeadScore:
    return LeadScore(forecasts, {'features': 0.1, 'classes': 0.1, 'depth': 0.1 * (1 - skill)},
                     {'features': 0.2, 'classes': 0.2, 'depth': 0.1})


@pytest.mark.parametrize(('change', 'situation', 'level', 'text'), [
    ({}, {}, 0, 'active'),
    ({'largest_age': 0.4}, {}, 0, 'active'),
    ({'largest_age': 0.5}, {}, 1, 'outputs are 0.50 s old, limit 0.4 s'),
    ({'largest_age': 1.5}, {}, 2, 'outputs are 1.50 s old, limit 1 s'),
    ({'largest_age': 1e6}, {}, 2, 'check use_sim_time'),
    ({'largest_age': -0.01}, {}, 0, 'active'),
    ({'largest_age': -0.5}, {}, 1, 'images are stamped 0.50 s in the future, limit 0.4 s'),
    ({'largest_age': -37.0}, {}, 2, 'images are stamped 37.00 s in the future, limit 1 s'),
    ({'input_rate': 1.5}, {}, 1, '1.5 images a second, limit 2'),
    ({'input_rate': 0.0}, {'state': 'inactive'}, 0, 'inactive'),
    ({}, {'depth_scale': None}, 1, 'depth is not scaled to the camera: none came'),
    ({}, {'plan_problem': 'plan: ended'}, 1, 'the newest plan: plan: ended'),
    ({'refused_lately': True, 'error': 'bad step'}, {}, 1, 'a message was refused: bad step'),
    ({'engine_failing': True, 'error': 'out of memory', 'input_rate': 0.1}, {}, 2,
     'the engine failed: out of memory; 0.1 images a second'),
    ({}, {'state': 'unconfigured', 'startup_error': 'configure failed: x'}, 2,
     'configure failed: x'),
    ({}, {'seconds_in_work': 18.0}, 2, 'one image has been in work for 18.0 s, limit 1 s'),
    ({}, {'seconds_in_work': 18.0, 'state': 'inactive'}, 0, 'inactive'),
    ({'ahead_wanted': True, 'without_forecast': 2.8}, {}, 0, 'active'),
    ({'ahead_wanted': True, 'without_forecast': 3.0}, {}, 2, 'no forecast for 3 s'),
    ({'ahead_wanted': True, 'without_forecast': 3.0}, {'stride': 0.4}, 0, 'active'),
    ({'without_context': 4.0, 'usable_rate': 2.5}, {}, 1,
     'the context has not been whole for 4 s: 2.5 images a second can be used, this bundle needs '
     'more than 3.3 (one every 0.3 s)'),
    ({'without_context': 4.0, 'input_rate': 0.0}, {}, 1, 'no image arrives'),
    ({'restarts_lately': {Restart.WENT_BACK: 7}}, {}, 1,
     'the context restarted 7 times in 5 s: the stamp went back (is more than one camera'),
    ({'odd_lately': {Odd.REPEATED: 90}}, {}, 1, '90 images in 5 s were left out: repeated stamp'),
    ({'odd_lately': {Odd.REPEATED: 10}}, {}, 0, 'active'),
    ({'breaks_lately': 3}, {}, 1, 'the context broke 3 times'),
    ({'lost_lately': 3}, {}, 1, '3 messages were lost on their way'),
    ({}, {'clock_stands': 5.0}, 1, 'the clock has stood still for 5 s: use_sim_time is true'),
    ({}, {'input_problem': 'nobody publishes'}, 1, 'nobody publishes'),
    ({'scores': {0.2: lead_score(-9), 0.6: lead_score(0.1)}}, {}, 0, 'active'),
    ({'scores': {0.2: lead_score(0.1), 0.6: lead_score(-0.1, forecasts=4)}}, {}, 0, 'active'),
    ({'scores': {0.2: lead_score(0.1), 0.6: lead_score(-0.1)}}, {}, 1,
     'the skill of forecasts 0.6 s ahead is -0.10 in depth, limit 0 (0: no better than'),
    ({'bounds': {0.2: LeadBound(None, 0.93, False)}}, {}, 0, 'active'),
    ({'bounds': {0.2: LeadBound(None, 0.93, False), 0.6: LeadBound(None, 0.82, True)}}, {}, 1,
     'the bound of the nearest obstacle 0.6 s ahead held in 82 % of the columns lately, 95 % are'),
])
def test_diagnostics_name_every_cause(
        change: dict[str, Any], situation: dict[str, Any], level: int, text: str) -> None:
    result = diagnose(change, **situation)
    assert result[0] == level and text in result[1]


def test_no_skill_is_judged_where_no_limit_is_set() -> None:
    assert diagnose({'scores': {0.6: lead_score(-9)}}, (0.4, 1.0, 2.0, NEVER)) == (0, 'active')


def test_a_score_ages() -> None:
    now = 100.0
    statistics = Statistics(lambda: now)
    statistics.scored({0.6: lead_score(0.5)})
    assert statistics.snapshot().scores[0.6].skill['depth'] == pytest.approx(0.5)
    now += 31
    assert statistics.snapshot().scores == {}


def test_a_bound_shows_in_the_values_and_ages() -> None:
    now = 100.0
    statistics = Statistics(lambda: now)
    statistics.bounded({0.2: LeadBound(None, None, False), 0.6: LeadBound(None, 0.8, True)})
    situation = Situation('active', '', 'tiny', 'some', 4, 0.2, 1.0, '')
    shown = values(statistics.snapshot(), situation)
    assert (shown['bound_coverage_200ms'], shown['bound_alarm_200ms']) == ('', 'false')
    assert (shown['bound_coverage_600ms'], shown['bound_alarm_600ms']) == ('0.800', 'true')
    now += 31
    assert statistics.snapshot().bounds == {}


def test_every_kind_has_a_remedy() -> None:
    assert set(REMEDIES) == {*Odd, *Restart} - {Restart.ENDED}
