# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The speed governor: commands in, commands out at which the robot can still stop."""

from __future__ import annotations

import copy
import math
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Twist, TwistStamped
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile

from deltaworld_ros.node.governor_parameters import GOVERNOR_PARAMETERS
from deltaworld_ros.node.parameters import declare_parameters, parameter
from deltaworld_ros.node.run import run_node
from deltaworld_ros.node.scene_input import SceneInput
from deltaworld_ros.node.throttled_log import ThrottledLog
from deltaworld_ros.planning.governor import Basis, Decision, Rules, SpeedGovernor
from deltaworld_ros.planning.risk import Braking, Trust

SUMMARY = """\
Let commands through at speeds at which the robot can still stop: cmd_vel in, cmd_vel_limited out.

It needs the forecast node with camera_pose; planner.launch.py starts both."""
COMMAND_QOS = QoSProfile(depth=1)
LIMIT_PERIOD = 0.1         # s
DIAGNOSTICS_PERIOD = 1.0   # s
# nav2_msgs/SpeedLimit takes 0 for no limit, so that a stop must be a little more.
_STOP = 0.001              # m/s
_LEVELS = {Basis.FORECAST: DiagnosticStatus.OK, Basis.PRESENT: DiagnosticStatus.WARN,
           Basis.SAFE_SPEED: DiagnosticStatus.ERROR}


class SpeedGovernorNode(Node):
    """
    Limits `cmd_vel` to `cmd_vel_limited`, and tells Nav2 the limit where nav2_msgs is installed.

    The curvature of a command is kept, and turning on the spot is let through.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__('speed_governor', **options)
        declare_parameters(self, GOVERNOR_PARAMETERS)
        self._log = ThrottledLog(self.get_logger(), self.context.ok)
        self._governor = SpeedGovernor(governor_rules(self))
        self._stamped: bool = parameter(self, 'stamped')
        self._last: Decision | None = None
        self._command = 0.0
        self._commands = 0
        self._scene = SceneInput(self, parameter(self, 'base_frame'), self._refuse)
        kind = TwistStamped if self._stamped else Twist
        self._output = self.create_publisher(kind, 'cmd_vel_limited', COMMAND_QOS)
        self.create_subscription(kind, 'cmd_vel', self._take_command, COMMAND_QOS)
        self._limit: Any = None
        try:
            from nav2_msgs.msg import SpeedLimit
        except ImportError:
            self._log.info('nav2_msgs is not installed: no speed_limit is published')
        else:
            self._limit_type = SpeedLimit
            self._limit = self.create_publisher(SpeedLimit, 'speed_limit', COMMAND_QOS)
            self.create_timer(LIMIT_PERIOD, self._publish_limit)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 5)
        # A steady timer: diagnostics must go on while simulated time stands still.
        self.create_timer(DIAGNOSTICS_PERIOD, self._publish_diagnostics,
                          clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._jump_handle = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1),
                          on_clock_change=False), post_callback=lambda jump: self._scene.clear())
        self.add_post_set_parameters_callback(self._parameters_changed)

    def destroy_node(self) -> None:
        """Stop listening to the clock before the node goes."""
        self._jump_handle.unregister()
        super().destroy_node()

    @property
    def _now(self) -> float:
        return float(self.get_clock().now().nanoseconds) * 1e-9

    def _take_command(self, message: Twist | TwistStamped) -> None:
        command = message.twist if self._stamped else message
        speed, yaw_rate = command.linear.x, command.angular.z
        decision = self._governor.limit(self._now, speed, yaw_rate, self._scene.newest)
        limited = copy.deepcopy(message)
        twist = limited.twist if self._stamped else limited
        share = decision.speed / speed if speed else 1.0
        parts = (decision.speed, share * command.linear.y, share * yaw_rate)
        if not all(math.isfinite(part) for part in parts):   # then the command is not
            parts = (0.0, 0.0, 0.0)
        twist.linear.x, twist.linear.y, twist.angular.z = parts
        self._output.publish(limited)
        self._tell(decision, speed)

    def _tell(self, decision: Decision, speed: float) -> None:
        before, self._last = self._last, decision
        self._command, self._commands = speed, self._commands + 1
        if before is None or before.basis is not decision.basis:
            line = f'speeds are chosen by the {decision.basis.value}'
            if decision.basis is Basis.FORECAST:
                self._log.info(line)
            else:
                self._log.warn(decision.basis, f'{line}: {self._reason(decision)}')

    def _reason(self, decision: Decision) -> str:
        missing = decision.basis is Basis.SAFE_SPEED and self._scene.problem
        return f'{decision.reason} ({self._scene.problem})' if missing else decision.reason

    def _publish_limit(self) -> None:
        highest = self._governor.highest_speed(
            self._now, parameter(self, 'max_speed'), 0.0, self._scene.newest)
        self._limit.publish(limit_message(
            self._limit_type, highest.speed, self.get_clock().now().to_msg()))

    def _publish_diagnostics(self) -> None:
        if not self.context.ok():   # an interrupt may come between the timer and this
            return
        scene = self._scene.newest
        decision = self._governor.highest_speed(
            self._now, parameter(self, 'max_speed'), 0.0, scene)
        values = {
            'basis': decision.basis.value, 'reason': self._reason(decision),
            'admissible_speed': f'{decision.speed:.3f}', 'commands': str(self._commands),
            'command': f'{self._command:.3f}',
            'let_through': '' if self._last is None else f'{self._last.speed:.3f}',
            'scene_age_s': '' if scene is None else f'{self._now - scene.stamp:.3f}',
            'futures': '' if scene is None else str(len(scene.weights))}
        text = f'speeds are chosen by the {decision.basis.value}'
        status = DiagnosticStatus(
            level=_LEVELS[decision.basis], name=f'{self.get_fully_qualified_name()[1:]}: speed',
            message=f'{text}: {values["reason"]}' if values['reason'] else text,
            values=[KeyValue(key=key, value=value) for key, value in values.items()])
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _parameters_changed(self, changes: list[Parameter]) -> None:
        self._governor.rules = governor_rules(self)

    def _refuse(self, text: str) -> None:
        self._log.error('scene', f'a message was refused: {text}')


def governor_rules(node: Node) -> Rules:
    """Return the rules that the node's parameters give."""
    def value(name: str) -> Any:
        return parameter(node, name)

    return Rules(
        braking=Braking(value('reaction_time'), value('deceleration'),
                        value('standstill_distance')),
        half_width=0.5 * value('corridor_width'), front=value('robot_front'),
        level=value('risk_level'), forecast_age=value('forecast_age'),
        scene_age=value('scene_age'), safe_speed=value('safe_speed'),
        acceleration=value('acceleration'), hold=value('hold'),
        trust=Trust(value('release'), value('lead_deceleration')))


def limit_message(kind: Any, speed: float, stamp: Any) -> Any:
    """Return a nav2_msgs/SpeedLimit (`kind`) of a speed in m/s."""
    message = kind(percentage=False, speed_limit=max(speed, _STOP))
    message.header.stamp = stamp
    return message


def main(arguments: list[str] | None = None) -> int:
    """Run the speed governor until it is interrupted."""
    return run_node(
        'speed_governor', SUMMARY, GOVERNOR_PARAMETERS, SpeedGovernorNode, arguments)
