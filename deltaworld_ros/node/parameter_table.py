# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The one table of the forecast node's parameters, without rclpy.

The node declares them from it, and `python -m deltaworld_ros.node.parameter_table` prints the
table of docs/parameters.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deltaworld_ros.camera.choices import FITS, RECTIFIED
from deltaworld_ros.camera.image_decoding import MAX_PIXELS
from deltaworld_ros.engine.select import engine_names
from deltaworld_ros.errors import UserError

NEVER = -1.0   # of `skill_warn`
Value = bool | int | float | str


@dataclass(frozen=True)
class ParameterRow:
    """One parameter: its type is its default's, its range or choices are what is accepted."""

    name: str
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    dynamic: bool = False

    @property
    def type_name(self) -> str:
        """Return the type's name as ROS 2 spells it."""
        return {bool: 'bool', int: 'integer', float: 'double', str: 'string'}[type(self.default)]

    @property
    def accepted(self) -> str:
        """Say in words which values are accepted."""
        if self.choices:
            return ' | '.join(self.choices)
        if self.minimum is not None:
            return f'{self.minimum} to {self.maximum}'
        return {bool: 'true | false', str: 'any text'}[type(self.default)]

    def check(self, value: object) -> None:
        """Raise `UserError` that names the parameter, the value and what is accepted."""
        good = type(value) is type(self.default)
        if good and self.choices:
            good = value in self.choices
        if good and self.minimum is not None and self.maximum is not None:
            good = self.minimum <= value <= self.maximum  # type: ignore[operator]
        if not good:
            raise UserError(
                f'parameter {self.name} is {value!r}; accepted: {self.type_name}, {self.accepted}')


PARAMETERS = (
    ParameterRow(
        'bundle', 'street-lite0',
        'Name of a shipped bundle, or path of a bundle folder.'),
    ParameterRow(
        'engine', 'auto',
        'What runs the graphs; auto takes the first that reproduces the golden outputs of the '
        'bundle.',
        choices=tuple(engine_names())),
    ParameterRow(
        'threads', 0,
        'Threads of the engine on the CPU; 0 leaves the choice to the engine. Take 1 where '
        'several nodes share few cores.',
        minimum=0, maximum=256),
    ParameterRow(
        'cameras', '',
        'Names of several cameras, with spaces between: each has topics of its own, '
        '`<camera>/image` and `~/<camera>/lead_...`; empty: one camera, `image` and '
        '`~/lead_...`.'),
    ParameterRow(
        'transport', 'raw',
        'raw subscribes to `image`, compressed to `image/compressed`.',
        choices=('raw', 'compressed')),
    ParameterRow(
        'input_qos', 'auto',
        'Reliability of the subscription to the images: auto is reliable where all their '
        'publishers are, sensor_data is best effort.',
        choices=('auto', 'sensor_data', 'reliable')),
    ParameterRow(
        'fit', 'crop',
        'How a frame is fitted to the size that the bundle expects: crop keeps the aspect and '
        'cuts what stands out, squash keeps the whole frame.',
        choices=FITS),
    ParameterRow(
        'rectified', 'auto',
        'Whether the images are rectified, so that P of camera_info describes them and not K; '
        'auto: where the last name of their topic has `_rect` in it, or K is empty.',
        choices=RECTIFIED),
    ParameterRow(
        'max_image_pixels', MAX_PIXELS,
        'Images of more pixels are refused before they are decoded.',
        minimum=10_000, maximum=1_000_000_000),
    ParameterRow(
        'output_width', 320,
        'Width of the published maps in pixels; the height follows from the aspect of the maps.',
        minimum=16, maximum=1920, dynamic=True),
    ParameterRow(
        'num_samples', 0,
        "Futures that are sampled in token space; 0 takes the bundle's number.",
        minimum=0, maximum=4096),
    ParameterRow(
        'num_futures', 0,
        "Futures that are chosen from the samples and published; 0 takes the bundle's number.",
        minimum=0, maximum=64),
    ParameterRow(
        'max_gap', 1.0,
        'The context restarts when two frames are further apart than this many seconds.',
        minimum=0.05, maximum=60.0),
    ParameterRow(
        'publish_each_future', False,
        'Also offer each future on topics of its own, `~/lead_<ms>ms/future_<k>/...`, for tools '
        'that cannot read images of many channels.'),
    ParameterRow(
        'self_score', True,
        'Compare a forecast each second with what then came: `~/score` and `skill_warn`. It costs '
        'nothing while nobody listens and no limit is set.'),
    ParameterRow(
        'seed', 0,
        'Seed of the noise from which futures are sampled.',
        minimum=0, maximum=2**31 - 1),
    ParameterRow(
        'autostart', False,
        'Configure and activate when the process starts, without a lifecycle manager.'),
    ParameterRow(
        'camera_pose', '',
        'Pose of the camera on the robot, `x y z roll pitch yaw` in m and rad, of its body (x '
        'along the view, z up); of several `cameras` with semicolons between; empty: from TF, '
        'where tf2_ros is installed.'),
    ParameterRow(
        'base_frame', 'base_link',
        'Frame of the robot, in which `camera_pose` is given and whose motion `odom` tells.'),
    ParameterRow(
        'lead_frames', True,
        'With odometry, broadcast `<camera>_lead_<ms>ms` on /tf and stamp the maps and clouds of '
        'a lead into it, where tf2_msgs is installed.'),
    ParameterRow(
        'odom_limit', 0.5,
        'Odometry is interpolated over gaps, and carried on after its end, of at most this many '
        'seconds.',
        minimum=0.01, maximum=10.0),
    ParameterRow(
        'obstacle_roles', 'all',
        'Obstacles of which roles the outputs for planners show.',
        choices=('all', 'dynamic')),
    ParameterRow(
        'occupancy_size', 40.0,
        'Side of `~/occupancy` in m, ahead of the robot.',
        minimum=1.0, maximum=200.0),
    ParameterRow(
        'occupancy_resolution', 0.5,
        'Side of a cell of `~/occupancy` in m.',
        minimum=0.05, maximum=5.0),
    ParameterRow(
        'corridor_width', 2.4,
        'Width in m that `~/risk` keeps free: of the robot, and what must stay free beside it.',
        minimum=0.1, maximum=20.0),
    ParameterRow(
        'robot_front', 1.0,
        'Distance in m from the origin of `base_frame` to the foremost point of the robot.',
        minimum=0.0, maximum=20.0),
    ParameterRow(
        'reaction_time', 0.3,
        'Seconds before the robot brakes, for `~/risk`.',
        minimum=0.0, maximum=5.0),
    ParameterRow(
        'deceleration', 3.0,
        'Braking of the robot in m/s2, for `~/risk`.',
        minimum=0.1, maximum=20.0),
    ParameterRow(
        'standstill_distance', 1.0,
        'Metres that stay free before an obstacle, for `~/risk`.',
        minimum=0.0, maximum=20.0),
    ParameterRow(
        'risk_level', 0.2,
        'Share of the worst futures whose mean margin is the CVaR of `~/risk`.',
        minimum=0.01, maximum=1.0),
    ParameterRow(
        'age_warn', 0.4,
        'Diagnostics warn when an output is older than this many seconds at its publication.',
        minimum=0.001, maximum=3600.0, dynamic=True),
    ParameterRow(
        'age_error', 1.0,
        'Diagnostics report an error when an output is older than this many seconds.',
        minimum=0.001, maximum=3600.0, dynamic=True),
    ParameterRow(
        'rate_warn', 2.0,
        'Diagnostics of the active node warn when fewer images arrive each second; 0 never does. '
        'The rate that the bundle needs is judged in any case.',
        minimum=0.0, maximum=1000.0, dynamic=True),
    ParameterRow(
        'skill_warn', NEVER,
        'Diagnostics warn when the forecasts of the last 30 s were less skilful than this at the '
        'farthest lead: 1 is perfect, 0 no better than assuming that nothing changes; '
        f'{NEVER:g} never warns.',
        minimum=NEVER, maximum=1.0, dynamic=True),
)


def render_markdown(table: Sequence[ParameterRow] = PARAMETERS) -> str:
    """Render a table of parameters as Markdown."""
    lines = ['| parameter | type | default | accepted | change | meaning |',
             '|---|---|---|---|---|---|']
    for row in table:
        default = str(row.default).lower() if isinstance(row.default, bool) else row.default
        accepted = row.accepted.replace(' | ', ', ')
        change = 'any time' if row.dynamic else 'read-only'
        lines.append(f'| `{row.name}` | {row.type_name} | `{default}` | {accepted} | {change} | '
                     f'{row.description} |')
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    print(render_markdown(), end='')
