# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Judge a stream by its statistics: what is wrong, how bad it is, and what helps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deltaworld_ros.forecast.frame_gate import Odd, Restart
from deltaworld_ros.forecast.obstacle_bound import COVERAGE
from deltaworld_ros.forecast.self_score import MIN_FORECASTS
from deltaworld_ros.node.parameter_table import NEVER
from deltaworld_ros.node.statistics import RATE_WINDOW, Snapshot

OK, WARN, ERROR = 0, 1, 2
# On top of the time in which a context fills: a stream may restart without a warning.
PATIENCE = 2.0           # s
MANY_RESTARTS = 3        # within RATE_WINDOW
MANY_ODD = 0.3           # share of the images

REMEDIES: Mapping[Restart | Odd, str] = {
    Restart.WENT_BACK: 'is more than one camera or recording published on the topic?',
    Restart.GAP: 'the camera pauses, its images are lost on the way, or its clock is set anew',
    Restart.SOURCE_CHANGED: 'do several cameras share the topic?',
    Restart.REQUESTED: 'who calls ~/reset_context?',
    Restart.DEACTIVATED: 'who deactivates the node?',
    Restart.CLOCK_JUMPED: 'is a recording played in a loop, or is more than one /clock published?',
    Odd.REPEATED: 'the driver must stamp every image anew',
    Odd.LATE: 'is more than one camera published on the topic, or do images overtake each other?',
    Odd.AHEAD: 'the driver sets wrong stamps',
    Odd.OTHER_SOURCE: 'do several cameras share the topic?',
}


@dataclass(frozen=True)
class Limits:
    """Limits that are parameters: ages in s, rate in 1/s, the least skill or NEVER."""

    age_warn: float
    age_error: float
    rate_warn: float
    skill_warn: float


@dataclass(frozen=True)
class Situation:
    """What the node knows about a stream besides its statistics."""

    state: str                  # of the lifecycle
    startup_error: str          # why the last transition failed, '' otherwise
    bundle: str
    engine: str
    context_length: int         # links
    stride: float               # s
    depth_scale: float | None   # None: depth is published unscaled
    camera_problem: str         # why it is unscaled
    seconds_in_work: float = 0.0   # of the frame in work, 0 without one
    clock_stands: float = 0.0      # s that the simulated clock has not moved
    input_problem: str = ''        # what is wrong with the image topic
    ego_problem: str = ''          # why ego motion is not compensated, where it should be
    plan_problem: str = ''         # what was wrong with the newest plan

    @property
    def needed_rate(self) -> float:
        """Return the least images a second of which a context can be made."""
        return 1 / (1.5 * self.stride)

    @property
    def fill_seconds(self) -> float:
        """Return within how many seconds a context must be whole."""
        return (self.context_length - 1) * 1.5 * self.stride + PATIENCE


def judge(snapshot: Snapshot, situation: Situation, limits: Limits) -> tuple[int, str]:
    """Return the level and a message that names every cause, worst first."""
    problems = [(ERROR, situation.startup_error)] if situation.startup_error else []
    if situation.state == 'active':
        problems += [*_engine(snapshot, situation, limits), *_ages(snapshot, limits),
                     *_inputs(snapshot, situation, limits), *_results(snapshot, situation),
                     *_skill(snapshot, limits), *_bounds(snapshot)]
    if not problems:
        return OK, situation.state
    problems.sort(key=lambda problem: -problem[0])
    return problems[0][0], '; '.join(text for _, text in problems)


def _engine(snapshot: Snapshot, situation: Situation, limits: Limits
            ) -> Iterator[tuple[int, str]]:
    if snapshot.engine_failing:
        yield ERROR, f'the engine failed: {snapshot.error}'
    if situation.seconds_in_work > limits.age_error:
        yield ERROR, (f'one image has been in work for {situation.seconds_in_work:.1f} s, limit '
                      f'{limits.age_error:g} s: the engine hangs or is far too slow; deactivate, '
                      'clean up and configure the node, or choose another engine')


def _ages(snapshot: Snapshot, limits: Limits) -> Iterator[tuple[int, str]]:
    age = snapshot.largest_age
    if age is None or abs(age) <= limits.age_warn:
        return
    limit, level = (limits.age_error, ERROR) if abs(age) > limits.age_error \
        else (limits.age_warn, WARN)
    if age < 0:
        yield level, (f'images are stamped {-age:.2f} s in the future, limit {limit:g} s (do the '
                      "camera's clock and this machine's agree? check use_sim_time)")
    else:
        hint = ' (check use_sim_time and the stamps of the images)' if age > 3600 else ''
        yield level, f'outputs are {age:.2f} s old, limit {limit:g} s{hint}'


def _inputs(snapshot: Snapshot, situation: Situation, limits: Limits
            ) -> Iterator[tuple[int, str]]:
    if situation.clock_stands > PATIENCE:
        yield WARN, (f'the clock has stood still for {situation.clock_stands:.0f} s: '
                     'use_sim_time is true, so /clock must be published')
    if situation.input_problem:
        yield WARN, situation.input_problem
    if snapshot.input_rate < limits.rate_warn:
        yield WARN, f'{snapshot.input_rate:.1f} images a second, limit {limits.rate_warn:g}'
    if snapshot.refused_lately:
        yield WARN, f'a message was refused: {snapshot.error}'
    if snapshot.lost_lately:
        yield WARN, (f'{snapshot.lost_lately} messages were lost on their way in '
                     f'{RATE_WINDOW:g} s: see "Large images" in docs/install.md')
    if snapshot.accepted and situation.depth_scale is None:
        yield WARN, f'depth is not scaled to the camera: {situation.camera_problem}'
    if snapshot.accepted and situation.ego_problem:
        yield WARN, f'ego motion is not compensated: {situation.ego_problem}'
    if situation.plan_problem:
        yield WARN, f'the newest plan: {situation.plan_problem}'
    lately = snapshot.input_rate * RATE_WINDOW
    for kind, number in snapshot.odd_lately.items():
        if number > MANY_ODD * lately:
            yield WARN, (f'{number} images in {RATE_WINDOW:g} s were left out: {kind.value} '
                         f'({REMEDIES[kind]})')


def _results(snapshot: Snapshot, situation: Situation) -> Iterator[tuple[int, str]]:
    for reason, number in snapshot.restarts_lately.items():
        if number >= MANY_RESTARTS:
            yield WARN, (f'the context restarted {number} times in {RATE_WINDOW:g} s: '
                         f'{reason.value} ({REMEDIES[reason]})')
    if snapshot.breaks_lately >= MANY_RESTARTS:
        yield WARN, (f'the context broke {snapshot.breaks_lately} times in {RATE_WINDOW:g} s: '
                     f'{_why_no_context(snapshot, situation)}')
    seconds = situation.fill_seconds
    if snapshot.ahead_wanted and snapshot.without_forecast > seconds:
        yield ERROR, (f'no forecast for {snapshot.without_forecast:.0f} s: '
                      f'{_why_no_context(snapshot, situation)}')
    elif snapshot.without_context > seconds:
        yield WARN, (f'the context has not been whole for {snapshot.without_context:.0f} s: '
                     f'{_why_no_context(snapshot, situation)}')


def _skill(snapshot: Snapshot, limits: Limits) -> Iterator[tuple[int, str]]:
    if limits.skill_warn <= NEVER or not snapshot.scores:
        return
    lead, score = max(snapshot.scores.items())
    if score.forecasts >= MIN_FORECASTS and score.least_skill < limits.skill_warn:
        metric = min(score.skill, key=lambda one: score.skill[one])
        yield WARN, (f'the skill of forecasts {lead:g} s ahead is {score.least_skill:.2f} in '
                     f'{metric}, limit {limits.skill_warn:g} (0: no better than assuming that '
                     'nothing changes): do not rely on them here')


def _bounds(snapshot: Snapshot) -> Iterator[tuple[int, str]]:
    for lead, bound in snapshot.bounds.items():
        if bound.alarm:
            yield WARN, (f'the bound of the nearest obstacle {lead:g} s ahead held in '
                         f'{100 * (bound.coverage or 0.0):.0f} % of the columns lately, '
                         f'{100 * COVERAGE:g} % are promised: do not rely on it here')


def _why_no_context(snapshot: Snapshot, situation: Situation) -> str:
    restarts = sum(snapshot.restarts_lately.values())
    if not snapshot.input_rate:
        return 'no image arrives'
    if snapshot.usable_rate < 1.02 * situation.needed_rate:
        return (f'{snapshot.usable_rate:.1f} images a second can be used, this bundle needs more '
                f'than {situation.needed_rate:.1f} (one every {1.5 * situation.stride:.2g} s)')
    if restarts >= MANY_RESTARTS:
        return 'it restarts again and again'
    if snapshot.engine_failing:
        return 'the engine fails'
    total = snapshot.percentiles.get('total', (0.0, 0.0))[0]
    return (f'{snapshot.usable_rate:.1f} images a second arrive, at uneven times or faster than '
            f'they are computed ({total:.0f} ms each)')
