# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One camera of the node: its inputs, worker, context, statistics and outputs."""

from __future__ import annotations

from dataclasses import replace

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from deltaworld_ros.bundle import Manifest
from deltaworld_ros.camera.intrinsics import read_camera
from deltaworld_ros.engine import Engine, PaintingGraph
from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast.forecaster import Forecaster
from deltaworld_ros.forecast.frame_gate import FrameGate, Restart
from deltaworld_ros.node.diagnostic_levels import Limits, Situation, judge
from deltaworld_ros.node.diagnostic_messages import values
from deltaworld_ros.node.frame_processor import FrameProcessor
from deltaworld_ros.node.image_decoding import decode_image
from deltaworld_ros.node.image_input import ImageInput
from deltaworld_ros.node.mailbox import Mailbox, WaitingFrame
from deltaworld_ros.node.outputs import output_table
from deltaworld_ros.node.parameter_table import NEVER
from deltaworld_ros.node.parameters import parameter
from deltaworld_ros.node.plan_answers import PlanAnswers
from deltaworld_ros.node.plan_input import PlanInput
from deltaworld_ros.node.planner_inputs import PlannerInputs
from deltaworld_ros.node.publishers import ForecastPublishers
from deltaworld_ros.node.statistics import Statistics
from deltaworld_ros.node.throttled_log import NamedLog, ThrottledLog, clip, kind_of
from deltaworld_ros.node.worker import FrameWorker

CAMERA_INFO_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
# They are kept in caches, in the log and in diagnostics, and published with every output.
MAX_NAME = 256
# Odd images within `RATE_WINDOW` that are decoded only to tell what is wrong with them.
MAX_EXAMINED = 10


class CameraStream:
    """
    Forecasts from one camera; it follows the node's lifecycle.

    The camera named '' has the topics `image`, `camera_info` and `~/lead_...`; another name comes
    before them: `front/image`, `~/front/lead_...`. Callbacks only judge and hand over frames; the
    graphs run in a thread of the stream's own.
    """

    def __init__(self, node: LifecycleNode, log: ThrottledLog, planner: PlannerInputs,
                 name: str = '') -> None:
        self.name = name
        self.statistics = Statistics()
        self.processor: FrameProcessor | None = None
        self.hanging = False     # the engine did not come back: nobody may use or free it any more
        self._node = node
        self._log = NamedLog(log, name) if name else log
        self._planner = planner
        self._inputs = f'{name}/' if name else ''
        self._outputs = f'~/{name}' if name else '~'
        self._manifest: Manifest | None = None
        self._publishers: ForecastPublishers | None = None
        self._plans: PlanInput | None = None
        self._answers: PlanAnswers | None = None
        self._gate = FrameGate(parameter(node, 'max_gap'))
        self._worker: FrameWorker | None = None
        self._images: ImageInput | None = None
        self._camera_info: Subscription | None = None
        self._told_problem = ''

    def status(self, situation: Situation, limits: Limits) -> tuple[int, str, dict[str, str]]:
        """Return level, message and values for diagnostics; `situation` is the node's."""
        processor = self.processor
        if processor is not None and self._publishers is not None:
            situation = replace(
                situation, depth_scale=processor.depth_scale,
                camera_problem=processor.camera_problem, ego_problem=processor.ego_problem,
                plan_problem=self._plans.problem if self._plans else '')
            self.statistics.wanted(self._publishers.request(self._publishers.wanted()).ahead)
        if self._worker is not None:
            situation = replace(situation, seconds_in_work=self._worker.seconds_in_work)
        snapshot = self.statistics.snapshot()
        if self._images is not None and not snapshot.input_rate:
            situation = replace(situation, input_problem=self._images.problem())
            if situation.input_problem != self._told_problem:
                self._told_problem = situation.input_problem
                self._log.warn('input', self._told_problem or 'images are published now')
        level, message = judge(snapshot, situation, limits)
        return level, message, values(snapshot, situation)

    def configure(self, engine: Engine, manifest: Manifest,
                  painter: PaintingGraph | None = None) -> None:
        """Make the topics and the context; raise `UserError` where parameters do not fit."""
        node = self._node
        num_futures = parameter(node, 'num_futures') or manifest.num_futures
        forecaster = Forecaster(
            engine, manifest, num_samples=parameter(node, 'num_samples') or None,
            num_futures=num_futures, seed=parameter(node, 'seed'), painter=painter)
        self._publishers = ForecastPublishers(
            node, output_table(num_futures, parameter(node, 'publish_each_future'),
                               parameter(node, 'self_score'), painter is not None),
            manifest.leads, self._outputs)
        self._plans = PlanInput(node, f'{self._outputs}/plan', '' if manifest.motion else (
            f'bundle {manifest.name!r}: its predictor was not trained with the motion of the '
            'robot, so it cannot forecast under a plan; see docs/planning.md'), self._log)
        self._answers = PlanAnswers(node, self._outputs, self._plans, self._planner)
        self.processor = FrameProcessor(
            forecaster, manifest, engine.name, self._publishers, self.statistics,
            node.get_clock(), self._log, fit=parameter(node, 'fit'),
            output_width=parameter(node, 'output_width'), planner=self._planner,
            plans=self._answers, name=self.name,
            max_pixels=parameter(node, 'max_image_pixels'))
        self.update_parameters()
        self._manifest = manifest
        self.hanging = False

    def activate(self) -> None:
        """Start the worker and subscribe to the inputs."""
        assert self.processor is not None and self._manifest is not None
        self.statistics.start()
        self._worker = FrameWorker(
            self.processor.process,
            Mailbox(self._manifest.stride, self._manifest.context_length))
        compressed = parameter(self._node, 'transport') == 'compressed'
        self._camera_info = self._node.create_subscription(
            CameraInfo, f'{self._inputs}camera_info', self._take_camera_info, CAMERA_INFO_QOS)
        self._log.info(f'camera_info: {self._camera_info.topic_name}')
        self._images = ImageInput(
            self._node, f'{self._inputs}image{"/compressed" if compressed else ""}', compressed,
            parameter(self._node, 'input_qos'), self._take_image, self.statistics.lost, self._log)
        self._told_problem = ''
        if self._plans is not None:
            self._plans.activate()

    def update_inputs(self) -> None:
        """Follow the publishers of the images."""
        if self._images is not None:
            self._images.update()

    def deactivate(self) -> None:
        """Unsubscribe, stop the worker and forget the context."""
        if self._worker is None or self.processor is None:
            return
        if self._images is not None:
            self._images.destroy()
        if self._plans is not None:
            self._plans.deactivate()
        self._node.destroy_subscription(self._camera_info)
        self._images = self._camera_info = None
        stopped, self._worker = self._worker.stop(), None
        self.processor.camera = None
        self._gate.reset()
        if stopped:
            self.processor.reset(Restart.DEACTIVATED)
        else:
            self.hanging = self.processor.abandoned = True
            self._log.error('hanging', 'the engine did not finish its frame in time: it is given '
                            'up; clean up and configure for another one')
        self.statistics.restarted(Restart.DEACTIVATED)
        self._log.info(f'the context restarts: {Restart.DEACTIVATED.value}')

    def cleanup(self) -> None:
        """Take the topics away."""
        self.processor = None
        if self._publishers is not None:
            self._publishers.destroy()
            self._publishers = None
        if self._answers is not None:
            self._answers.destroy()
            self._answers = None

    def reset(self, reason: Restart) -> None:
        """Restart the context before the next frame, without waiting for the one in work."""
        if self._worker is None:
            return
        self._gate.reset()
        self.statistics.dropped(self._worker.clear(reason))
        self.statistics.restarted(reason)
        self._log.info(f'the context restarts: {reason.value}')

    def update_parameters(self) -> None:
        """Take over the parameters that may change at any time."""
        if self.processor is not None:
            self.processor.output_width = parameter(self._node, 'output_width')
            self.processor.score.watched = parameter(self._node, 'self_score') and \
                parameter(self._node, 'skill_warn') > NEVER

    def _take_image(self, message: Image | CompressedImage) -> None:
        if self._worker is None:
            return
        self.statistics.received()
        stamp_ns = _nanoseconds(message.header)
        try:
            failed = self.processor is not None and self.processor.failed_ns == stamp_ns
            verdict = self._gate.check(stamp_ns, _source_of(message), again=failed)
            if verdict.odd and self.statistics.odd_lately < MAX_EXAMINED:
                # One that is malformed, too, is refused for that.
                decode_image(message, max_pixels=parameter(self._node, 'max_image_pixels'))
        except UserError as error:
            self.statistics.refused(clip(str(error)))
            self._log.error(kind_of(error), f'image refused: {error}')
            return
        if verdict.odd:
            self.statistics.odd(verdict.odd)
            self._log.warn(verdict.odd, f'an image is left out: {verdict.odd.value} '
                           f'{verdict.detail}')
            return
        self.statistics.usable()
        if verdict.restart:
            self.statistics.restarted(verdict.restart)
            self._log.warn(verdict.restart, f'the context restarts: {verdict.restart.value} '
                           f'{verdict.detail}')
        elif verdict.resumed:
            self.statistics.resumed(verdict.undone)
            self._log.warn('resumed', 'the context goes on: only the image before was misdated')
        self.statistics.dropped(self._worker.put(WaitingFrame(message, stamp_ns), verdict))

    def _take_camera_info(self, message: CameraInfo) -> None:
        if self.processor is None:
            return
        try:
            self.processor.camera = read_camera(
                message, self._images.topic if self._images else '',
                parameter(self._node, 'rectified'))
        except UserError as error:
            self.processor.camera = None
            self.processor.camera_problem = clip(str(error))
            self.statistics.refused(clip(str(error)))
            self._log.error(kind_of(error), str(error))


def _source_of(message: Image | CompressedImage) -> tuple[object, ...]:
    """Return what must not change within a context; raise `UserError` for endless names."""
    compressed = isinstance(message, CompressedImage)
    names = {'frame_id': message.header.frame_id, **(
        {'format': message.format} if compressed else {'encoding': message.encoding})}
    for name, value in names.items():
        if len(value) > MAX_NAME:
            raise UserError(f'{name} has {len(value)} characters; at most {MAX_NAME} are accepted')
    size = () if compressed else (message.width, message.height)
    return (*size, *names.values())


def _nanoseconds(header: Header) -> int:
    return int(header.stamp.sec) * 10**9 + int(header.stamp.nanosec)
