# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The one table of the speed governor's parameters, without rclpy.

`python -m deltaworld_ros.node.governor_parameters` prints the table of docs/planning.md.
"""

from __future__ import annotations

from deltaworld_ros.node.parameter_table import ParameterRow, render_markdown

GOVERNOR_PARAMETERS = (
    ParameterRow(
        'base_frame', 'base_link',
        'Frame of the robot, that of the obstacles: the forecast node must know `camera_pose`.'),
    ParameterRow(
        'stamped', False,
        'Whether commands are TwistStamped (as in Nav2 from Kilted on) and not Twist.'),
    ParameterRow(
        'max_speed', 2.0,
        'Speed in m/s up to which `speed_limit` tells what is admissible.',
        minimum=0.1, maximum=60.0, dynamic=True),
    ParameterRow(
        'safe_speed', 0.0,
        'Speed in m/s that is let through, either way, where nothing is known of obstacles.',
        minimum=0.0, maximum=60.0, dynamic=True),
    ParameterRow(
        'corridor_width', 1.2,
        'Width in m that must be free: of the robot, and what must stay free beside it.',
        minimum=0.1, maximum=20.0, dynamic=True),
    ParameterRow(
        'robot_front', 0.5,
        'Distance in m from the origin of `base_frame` to the foremost point of the robot.',
        minimum=0.0, maximum=20.0, dynamic=True),
    ParameterRow(
        'reaction_time', 0.3,
        'Seconds before the robot brakes after a command.',
        minimum=0.0, maximum=5.0, dynamic=True),
    ParameterRow(
        'deceleration', 1.5,
        'Braking of the robot in m/s2.',
        minimum=0.1, maximum=20.0, dynamic=True),
    ParameterRow(
        'standstill_distance', 0.5,
        'Metres that stay free before an obstacle.',
        minimum=0.0, maximum=20.0, dynamic=True),
    ParameterRow(
        'risk_level', 0.2,
        'Share of the worst futures whose mean margin must not be negative.',
        minimum=0.01, maximum=1.0, dynamic=True),
    ParameterRow(
        'forecast_age', 0.4,
        'A forecast that is older than this many seconds counts by its present maps alone.',
        minimum=0.01, maximum=10.0, dynamic=True),
    ParameterRow(
        'scene_age', 0.8,
        'Obstacles that are older than this many seconds are not used: the safe speed holds.',
        minimum=0.01, maximum=10.0, dynamic=True),
    ParameterRow(
        'acceleration', 0.5,
        'By how many m/s2 the speed that is let through rises; it falls at once.',
        minimum=0.01, maximum=20.0, dynamic=True),
    ParameterRow(
        'hold', 0.5,
        'For how many seconds a higher speed must be admissible before it is let through.',
        minimum=0.0, maximum=10.0, dynamic=True),
    ParameterRow(
        'release', False,
        'Whether a forecast in which the way is free outweighs an obstacle that is there now.',
        dynamic=True),
    ParameterRow(
        'lead_deceleration', 100.0,
        'With `release`, by how many m/s2 an obstacle that goes on ahead may brake after the last '
        'lead; 100 takes it to stand there.',
        minimum=0.5, maximum=100.0, dynamic=True),
)

if __name__ == '__main__':
    print(render_markdown(GOVERNOR_PARAMETERS), end='')
