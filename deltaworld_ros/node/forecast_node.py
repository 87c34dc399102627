# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node: one camera's images in, weighted futures of segmentation and depth out."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import cv2
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from std_srvs.srv import Trigger

from deltaworld_ros.bundle import Manifest, load_bundle
from deltaworld_ros.engine import Engine, PaintingGraph, load_engine
from deltaworld_ros.engine.shared_engine import SharedEngine
from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast.frame_gate import Restart
from deltaworld_ros.node.camera_stream import CameraStream
from deltaworld_ros.node.diagnostic_levels import Limits, Situation
from deltaworld_ros.node.diagnostic_messages import status_message
from deltaworld_ros.node.labels import publish_labels
from deltaworld_ros.node.manager_bond import ManagerBond
from deltaworld_ros.node.parameter_table import PARAMETERS
from deltaworld_ros.node.parameters import (
    camera_names,
    declare_parameters,
    parameter,
)
from deltaworld_ros.node.planner_inputs import PlannerInputs
from deltaworld_ros.node.run import run_node
from deltaworld_ros.node.shared_memory import shared_memory_problems
from deltaworld_ros.node.standing_clock import StandingClock
from deltaworld_ros.node.throttled_log import ThrottledLog
from deltaworld_ros.node.transitions import refuse_impossible_transitions
from deltaworld_ros.node.worker import WORKER_NAME

DIAGNOSTICS_PERIOD = 1.0    # s
INPUTS_PERIOD = 0.25        # s
SUMMARY = """\
Forecast from the images of a camera: weighted futures of segmentation and depth.

It waits for `ros2 lifecycle set /forecast configure` and then `activate`, unless autostart is set:
  forecast_node --ros-args -p autostart:=true -r image:=/camera/image_raw \\
    -r camera_info:=/camera/camera_info"""
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class ForecastNode(LifecycleNode):
    """
    Forecasts from the images of a camera, each camera a stream of its own.

    Configure loads and checks the bundle and makes the topics, activate subscribes, deactivate
    unsubscribes and clears the context, cleanup frees the engine.
    """

    def __init__(self, name: str = 'forecast', **options: Any) -> None:
        super().__init__(name, **options)
        refuse_impossible_transitions(self, lambda: self._state)
        declare_parameters(self)
        self._log = ThrottledLog(self.get_logger(), self.context.ok)
        names = camera_names(self)
        self._planner = PlannerInputs(self, self._log)
        self._bond = ManagerBond(self)
        self._streams = [CameraStream(self, self._log, self._planner, name) for name in names]
        self._state = 'unconfigured'
        self._startup_error = ''
        self._engine: Engine | None = None
        self._manifest: Manifest | None = None
        self._labels: list[Publisher] = []
        self._standing_clock = StandingClock(self.get_clock())
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 5)
        # A steady timer: diagnostics must go on while simulated time stands still.
        self._timer = self.create_timer(
            DIAGNOSTICS_PERIOD, self._publish_diagnostics,
            clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._inputs_timer = self.create_timer(
            INPUTS_PERIOD, self._update_inputs, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._reset_service = self.create_service(
            Trigger, '~/reset_context', self._reset_context)
        self._jump_handle = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1),
                          on_clock_change=False),
            post_callback=self._clock_jumped)
        self.add_post_set_parameters_callback(self._parameters_changed)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and check the bundle, start an engine, make the topics."""
        try:
            self._configure()
        except UserError as error:
            return self._refuse_transition('configure', str(error))
        # Engines and files fail in many ways; none may end a robot's process.
        except Exception as error:
            return self._refuse_transition('configure', f'{type(error).__name__}: {error}')
        self._state, self._startup_error = 'inactive', ''
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the inputs and start the workers."""
        if any(stream.hanging for stream in self._streams):
            self.get_logger().error(
                'activate refused: the engine still hangs; clean up and configure for another one')
            return FAILURE
        super().on_activate(state)
        self._planner.activate()
        for stream in self._streams:
            stream.activate()
        self._bond.form()
        self._state = 'active'
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, stop the workers and forget the contexts."""
        self._stop()
        self._state = 'inactive'
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the engine and take the topics away."""
        self._release()
        self._state = 'unconfigured'
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything, from whichever state."""
        self._stop()
        self._release()
        self._state = 'finalized'
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured after a transition that raised."""
        self._stop()
        self._release()
        self._state = 'unconfigured'
        return SUCCESS

    def destroy_node(self) -> None:
        """Stop the worker and free the engine before the node goes."""
        self._stop()
        self._release()
        self._jump_handle.unregister()
        super().destroy_node()

    def _configure(self) -> None:
        bundle = load_bundle(parameter(self, 'bundle'))
        manifest = bundle.manifest
        self._engine = load_engine(
            bundle, parameter(self, 'engine'), parameter(self, 'threads'), log=self._log.info,
            num_samples=parameter(self, 'num_samples') or manifest.num_samples,
            num_futures=parameter(self, 'num_futures') or manifest.num_futures,
            single_leads=True, apart_first=True)
        if len(self._streams) > 1 and not self._engine.several_threads:
            self._engine = SharedEngine(self._engine)
        painter = PaintingGraph.of(bundle, parameter(self, 'threads'))
        for stream in self._streams:
            stream.configure(self._engine, manifest, painter)
        self._labels = publish_labels(self, manifest)
        self._manifest = manifest

    def _refuse_transition(self, transition: str, error: str) -> TransitionCallbackReturn:
        self._release()
        self._startup_error = f'{transition} failed: {" ".join(error.split())}'
        if self.context.ok():
            self.get_logger().error(self._startup_error)
        return FAILURE

    def _stop(self) -> None:
        self._bond.end()
        self._planner.deactivate()
        for stream in self._streams:
            stream.deactivate()

    def _release(self) -> None:
        hanging = any(stream.hanging for stream in self._streams)
        for stream in self._streams:
            stream.cleanup()
        for publisher in self._labels:
            self.destroy_publisher(publisher)
        self._labels = []
        self._manifest = None
        # What a thread still computes with must not be freed.
        if self._engine is not None and not hanging:
            self._engine.close()
        self._engine = None

    def _reset_context(self, request: Trigger.Request, response: Trigger.Response
                       ) -> Trigger.Response:
        response.success = self._state == 'active'
        if response.success:
            for stream in self._streams:
                stream.reset(Restart.REQUESTED)
            response.message = 'the context restarts with the next image'
        else:
            response.message = f'the node is {self._state}: there is no context'
        return response

    def _clock_jumped(self, jump: TimeJump) -> None:
        self._planner.clear()
        if self._state == 'active':
            for stream in self._streams:
                stream.reset(Restart.CLOCK_JUMPED)

    def _parameters_changed(self, changes: list[Parameter]) -> None:
        for stream in self._streams:
            stream.update_parameters()

    def _update_inputs(self) -> None:
        if self.context.ok():
            for stream in self._streams:
                stream.update_inputs()

    def _publish_diagnostics(self) -> None:
        if not self.context.ok():   # an interrupt may come between the timer and this
            return
        manifest = self._manifest
        situation = Situation(
            state=self._state, startup_error=self._startup_error,
            bundle=manifest.name if manifest else parameter(self, 'bundle'),
            engine=self._engine.name if self._engine else '',
            context_length=manifest.context_length if manifest else 0,
            stride=manifest.stride if manifest else 1.0, depth_scale=None, camera_problem='',
            clock_stands=self._standing_clock.seconds())
        limits = Limits(*(parameter(self, name) for name in (
            'age_warn', 'age_error', 'rate_warn', 'skill_warn')))
        array = DiagnosticArray()
        for stream in self._streams:
            name = f'{self.get_fully_qualified_name()[1:]}: {stream.name or "forecast"}'
            array.status.append(status_message(name, *stream.status(situation, limits)))
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)


def main(arguments: list[str] | None = None) -> int:
    """Run the forecast node until it is interrupted."""
    # One frame is too little work to share: OpenCV's threads would only disturb the engine's.
    cv2.setNumThreads(1)
    code = run_node(
        'forecast_node', SUMMARY, PARAMETERS, ForecastNode, arguments, start=_start)
    _end_beside_hanging_threads(code)
    return code


def _start(node: ForecastNode) -> None:
    """Say what the node waits for, or start it at once."""
    for line in shared_memory_problems():
        node.get_logger().warning(line)
    if not parameter(node, 'autostart'):
        name = node.get_fully_qualified_name()
        node.get_logger().info(
            f'unconfigured: run `ros2 lifecycle set {name} configure`, then `... activate`, or '
            'start this with `--ros-args -p autostart:=true`')
    elif node.trigger_configure() == SUCCESS:
        node.trigger_activate()


def _end_beside_hanging_threads(code: int) -> None:
    """End the process at once where a hanging engine would not let it end in order."""
    if any(thread.name == WORKER_NAME for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == '__main__':
    sys.exit(main())
