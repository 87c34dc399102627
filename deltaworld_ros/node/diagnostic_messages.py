# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Put statistics and level of a stream into a DiagnosticStatus."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from deltaworld_ros.node.diagnostic_levels import Situation
from deltaworld_ros.node.statistics import RATE_WINDOW, Snapshot

LEVELS = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR)


def values(snapshot: Snapshot, situation: Situation) -> dict[str, str]:
    """Return the key-value pairs of the status."""
    def seconds(age: float | None) -> str:
        return '' if age is None else f'{age:.3f}'

    result = {
        'state': situation.state,
        'bundle': situation.bundle,
        'engine': situation.engine,
        'input_rate_hz': f'{snapshot.input_rate:.2f}',
        'output_rate_hz': f'{snapshot.output_rate:.2f}',
        'forecast_rate_hz': f'{snapshot.forecast_rate:.2f}',
        'output_age_s': seconds(snapshot.age),
        f'output_age_largest_{RATE_WINDOW:g}s_s': seconds(snapshot.largest_age),
        'in_work_s': f'{situation.seconds_in_work:.3f}',
        'images_received': str(snapshot.received),
        'images_accepted': str(snapshot.accepted),
        'images_for_context_only': str(snapshot.context_only),
        'images_dropped': str(snapshot.dropped),
        'images_odd': str(sum(snapshot.odd.values())),
        'images_lost': str(snapshot.lost),
        'messages_refused': str(snapshot.refused),
        'outputs_published': str(snapshot.published),
        'forecasts_published': str(snapshot.forecasts),
        'engine_failures': str(snapshot.engine_failures),
        'decoder_runs': str(snapshot.decoder_runs),
        'context_fill': f'{snapshot.context_fill} of {situation.context_length}',
        'context_breaks': str(snapshot.breaks),
        'context_restarts': str(sum(snapshot.restarts.values())),
        'depth_scale': ('unscaled' if situation.depth_scale is None
                        else f'{situation.depth_scale:.4f}'),
        'ego_problem': situation.ego_problem,
        'plan_problem': situation.plan_problem,
        'last_error': snapshot.error or situation.startup_error,
    }
    result.update({f'context_restarts: {reason.value}': str(number)
                   for reason, number in snapshot.restarts.items()})
    result.update({f'images_odd: {kind.value}': str(number)
                   for kind, number in snapshot.odd.items()})
    for lead, score in snapshot.scores.items():
        name = f'{round(1000 * lead)}ms'
        result[f'scored_forecasts_{name}'] = str(score.forecasts)
        result.update({f'skill_{name}_{metric}': f'{value:.3f}'
                       for metric, value in score.skill.items()})
    for lead, bound in snapshot.bounds.items():
        name = f'{round(1000 * lead)}ms'
        result[f'bound_coverage_{name}'] = (
            '' if bound.coverage is None else f'{bound.coverage:.3f}')
        result[f'bound_alarm_{name}'] = str(bound.alarm).lower()
    for stage, (median, high) in snapshot.percentiles.items():
        result[f'{stage}_p50_ms'] = f'{median:.2f}'
        result[f'{stage}_p95_ms'] = f'{high:.2f}'
    return result


def status_message(
        name: str, level: int, message: str, pairs: Mapping[str, str]) -> DiagnosticStatus:
    """Make the DiagnosticStatus of the stream `name`."""
    return DiagnosticStatus(
        level=LEVELS[level], name=name, message=message, hardware_id=pairs['bundle'],
        values=[KeyValue(key=key, value=value) for key, value in pairs.items()])
