# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node: one camera's images in, weighted futures of segmentation and depth out."""

from __future__ import annotations

import signal
import sys
import time
from typing import Any

import cv2
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import Trigger

from deltaworld_ros.bundle import Manifest, load_bundle
from deltaworld_ros.camera.intrinsics import read_camera
from deltaworld_ros.engine import Engine, load_engine
from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast.forecaster import Forecaster
from deltaworld_ros.node import diagnostics
from deltaworld_ros.node.frame_processor import FrameProcessor
from deltaworld_ros.node.parameters import declare_parameters, parameter
from deltaworld_ros.node.publishers import ForecastPublishers
from deltaworld_ros.node.statistics import Statistics
from deltaworld_ros.node.worker import NewestItemWorker

# Only the newest image matters, and a slow node must never hold back the camera's driver.
INPUT_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
DIAGNOSTICS_PERIOD = 1.0    # s
REPEATED_LOG_PERIOD = 5.0   # s between two equal lines
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class ForecastNode(LifecycleNode):
    """
    Forecasts from `image` (or `image/compressed`) and `camera_info`.

    Configure loads and checks the bundle and makes the topics, activate subscribes, deactivate
    unsubscribes and clears the context, cleanup frees the engine. Callbacks only hand frames over;
    the graphs run in a thread of their own.
    """

    def __init__(self, name: str = 'forecast', **options: Any) -> None:
        super().__init__(name, **options)
        self._survive_impossible_transitions()
        declare_parameters(self)
        self._statistics = Statistics()
        self._state = 'unconfigured'
        self._startup_error = ''
        self._engine: Engine | None = None
        self._manifest: Manifest | None = None
        self._outputs: ForecastPublishers | None = None
        self._processor: FrameProcessor | None = None
        self._worker: NewestItemWorker[Image | CompressedImage] | None = None
        self._subscriptions_to_inputs: list[Subscription] = []
        self._logged: dict[str, float] = {}
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 5)
        # A steady timer: diagnostics must go on while simulated time stands still.
        self._timer = self.create_timer(
            DIAGNOSTICS_PERIOD, self._publish_diagnostics,
            clock=Clock(clock_type=ClockType.STEADY_TIME))
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
        """Subscribe to the inputs and start the worker."""
        assert self._processor is not None
        super().on_activate(state)
        self._statistics.start()
        self._worker = NewestItemWorker(self._processor.process)
        compressed = parameter(self, 'transport') == 'compressed'
        self._subscriptions_to_inputs = [
            self.create_subscription(CameraInfo, 'camera_info', self._take_camera_info, INPUT_QOS),
            self.create_subscription(
                CompressedImage if compressed else Image,
                'image/compressed' if compressed else 'image', self._take_image, INPUT_QOS),
        ]
        self._state = 'active'
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, stop the worker and forget the context."""
        self._stop()
        self._state = 'inactive'
        if self._processor is not None:
            self._processor.request_reset('the node was deactivated')
            self._processor.camera = None
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
        self._engine = load_engine(bundle, parameter(self, 'engine'), parameter(self, 'threads'),
                                   log=self.get_logger().info)
        num_futures = parameter(self, 'num_futures') or manifest.num_futures
        forecaster = Forecaster(
            self._engine, manifest, num_samples=parameter(self, 'num_samples') or None,
            num_futures=num_futures, max_gap=parameter(self, 'max_gap'),
            seed=parameter(self, 'seed'))
        self._outputs = ForecastPublishers(
            self, manifest, num_futures, parameter(self, 'publish_each_future'))
        self._processor = FrameProcessor(
            forecaster, manifest, self._outputs, self._statistics, self.get_clock(),
            self._engine.name, parameter(self, 'fit'), parameter(self, 'output_width'),
            self.get_logger().info, self._warn, self._error)
        self._manifest = manifest

    def _survive_impossible_transitions(self) -> None:
        """Refuse a transition that does not fit the state; rclpy alone lets it end the process."""
        change_state = self._service_change_state.callback

        def guarded(request: Any, response: Any) -> Any:
            try:
                return change_state(request, response)
            except RuntimeError as error:   # rclpy's RCLError is one
                self.get_logger().error(f'transition refused while {self._state}: {error}')
                response.success = False
                return response

        self._service_change_state.callback = guarded

    def _refuse_transition(self, transition: str, error: str) -> TransitionCallbackReturn:
        self._release()
        self._startup_error = f'{transition} failed: {" ".join(error.split())}'
        self._statistics.failed(self._startup_error)
        self.get_logger().error(self._startup_error)
        return FAILURE

    def _stop(self) -> None:
        for subscription in self._subscriptions_to_inputs:
            self.destroy_subscription(subscription)
        self._subscriptions_to_inputs = []
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def _release(self) -> None:
        self._processor = None
        self._manifest = None
        if self._outputs is not None:
            self._outputs.destroy()
            self._outputs = None
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _take_image(self, message: Image | CompressedImage) -> None:
        self._statistics.received()
        if self._worker is not None and self._worker.put(message):
            self._statistics.dropped()

    def _take_camera_info(self, message: CameraInfo) -> None:
        if self._processor is None:
            return
        try:
            self._processor.camera = read_camera(message)
        except UserError as error:
            self._processor.camera = None
            self._processor.camera_problem = str(error)
            self._statistics.refused(str(error))
            self._error(str(error))

    def _reset_context(self, request: Trigger.Request, response: Trigger.Response
                       ) -> Trigger.Response:
        response.success = self._state == 'active' and self._processor is not None
        if response.success and self._processor is not None:
            self._processor.request_reset('reset_context was called')
            response.message = 'the context restarts with the next image'
        else:
            response.message = f'the node is {self._state}: there is no context'
        return response

    def _clock_jumped(self, jump: TimeJump) -> None:
        if self._state == 'active' and self._processor is not None:
            if self._worker is not None and self._worker.clear():
                self._statistics.dropped()
            self._processor.request_reset('the clock jumped back')

    def _parameters_changed(self, changes: list[Parameter]) -> None:
        if self._processor is not None:
            self._processor.output_width = parameter(self, 'output_width')

    def _publish_diagnostics(self) -> None:
        limits = diagnostics.Limits(*(
            parameter(self, name) for name in ('age_warn', 'age_error', 'rate_warn')))
        processor, manifest = self._processor, self._manifest
        situation = diagnostics.Situation(
            state=self._state, startup_error=self._startup_error,
            bundle=manifest.name if manifest else parameter(self, 'bundle'),
            engine=self._engine.name if self._engine else '',
            context_length=manifest.context_length if manifest else 0,
            depth_scale=processor.depth_scale if processor else None,
            camera_problem=processor.camera_problem if processor else '')
        snapshot = self._statistics.snapshot()
        level, message = diagnostics.judge(snapshot, situation, limits)
        array = DiagnosticArray(status=[diagnostics.status_message(
            f'{self.get_fully_qualified_name()[1:]}: forecast', level, message,
            diagnostics.values(snapshot, situation))])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _warn(self, line: str) -> None:
        if self._due(line):
            self.get_logger().warning(line)

    def _error(self, line: str) -> None:
        if self._due(line):
            self.get_logger().error(line)

    def _due(self, line: str) -> bool:
        """Tell whether a line was not logged lately, so that a bad stream does not flood."""
        now = time.monotonic()
        recent = {text: moment for text, moment in self._logged.copy().items()
                  if now - moment < REPEATED_LOG_PERIOD}
        # After an interrupt the worker may still fail to publish: that is no news.
        due = line not in recent and self.context.ok()
        if due:
            recent[line] = now
        self._logged = recent
        return due


def main(arguments: list[str] | None = None) -> int:
    """Run the forecast node until it is interrupted."""
    # One frame is too little work to share: OpenCV's threads would only disturb the engine's.
    cv2.setNumThreads(1)
    # A launch repeats the terminal's Ctrl-C; the second one must not break the orderly end that
    # rclpy's own handler starts with the first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rclpy.init(args=arguments)
    node = None
    try:
        node = ForecastNode()
        if parameter(node, 'autostart') and node.trigger_configure() == SUCCESS:
            node.trigger_activate()
        rclpy.spin(node)
    except UserError as error:
        print(f'forecast_node: {error}', file=sys.stderr)
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
