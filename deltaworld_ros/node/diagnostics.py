# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Judge the statistics against the limits and put them into a DiagnosticStatus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from deltaworld_ros.node.statistics import RATE_WINDOW, Snapshot

LEVELS = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR)


@dataclass(frozen=True)
class Limits:
    """Limits of the diagnostics: ages in s, rate in 1/s."""

    age_warn: float
    age_error: float
    rate_warn: float


@dataclass(frozen=True)
class Situation:
    """What the node knows about itself besides the statistics."""

    state: str                  # of the lifecycle
    startup_error: str          # why the last transition failed, '' otherwise
    bundle: str
    engine: str
    context_length: int
    depth_scale: float | None   # None: depth is published unscaled
    camera_problem: str         # why it is unscaled


def judge(snapshot: Snapshot, situation: Situation, limits: Limits) -> tuple[int, str]:
    """Give the level (index into LEVELS) and a message that names every cause, worst first."""
    problems: list[tuple[int, str]] = []
    if situation.startup_error:
        problems.append((2, situation.startup_error))
    if situation.state == 'active':
        if snapshot.engine_failing:
            problems.append((2, f'the engine failed: {snapshot.error}'))
        age = snapshot.largest_age
        if age is not None and age > limits.age_warn:
            limit, level = (limits.age_error, 2) if age > limits.age_error \
                else (limits.age_warn, 1)
            hint = ' (check use_sim_time and the stamps of the images)' if age > 3600 else ''
            problems.append((level, f'outputs are {age:.2f} s old, limit {limit:g} s{hint}'))
        if snapshot.input_rate < limits.rate_warn:
            problems.append((1, f'{snapshot.input_rate:.1f} images a second, limit '
                                f'{limits.rate_warn:g}'))
        if snapshot.refused_lately:
            problems.append((1, f'a message was refused: {snapshot.error}'))
        if snapshot.accepted and situation.depth_scale is None:
            problems.append((1, f'depth is not scaled to the camera: {situation.camera_problem}'))
    if not problems:
        return 0, situation.state
    problems.sort(key=lambda problem: -problem[0])
    return problems[0][0], '; '.join(text for _, text in problems)


def values(snapshot: Snapshot, situation: Situation) -> dict[str, str]:
    """Give the key-value pairs of the status."""
    def seconds(age: float | None) -> str:
        return '' if age is None else f'{age:.3f}'

    result = {
        'state': situation.state,
        'bundle': situation.bundle,
        'engine': situation.engine,
        'input_rate_hz': f'{snapshot.input_rate:.2f}',
        'output_rate_hz': f'{snapshot.output_rate:.2f}',
        'output_age_s': seconds(snapshot.age),
        f'output_age_largest_{RATE_WINDOW:g}s_s': seconds(snapshot.largest_age),
        'images_received': str(snapshot.received),
        'images_accepted': str(snapshot.accepted),
        'images_dropped': str(snapshot.dropped),
        'messages_refused': str(snapshot.refused),
        'outputs_published': str(snapshot.published),
        'engine_failures': str(snapshot.engine_failures),
        'decoder_runs': str(snapshot.decoder_runs),
        'context_fill': f'{snapshot.context_fill} of {situation.context_length}',
        'context_restarts': str(sum(snapshot.restarts.values())),
        'depth_scale': ('unscaled' if situation.depth_scale is None
                        else f'{situation.depth_scale:.4f}'),
        'last_error': snapshot.error or situation.startup_error,
    }
    result.update({f'context_restarts: {reason}': str(number)
                   for reason, number in sorted(snapshot.restarts.items())})
    for stage, (median, high) in snapshot.percentiles.items():
        result[f'{stage}_p50_ms'] = f'{median:.2f}'
        result[f'{stage}_p95_ms'] = f'{high:.2f}'
    return result


def status_message(
        name: str, level: int, message: str, pairs: Mapping[str, str]) -> DiagnosticStatus:
    """Make the DiagnosticStatus of the node `name`."""
    return DiagnosticStatus(
        level=LEVELS[level], name=name, message=message, hardware_id=pairs['bundle'],
        values=[KeyValue(key=key, value=value) for key, value in pairs.items()])
