# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One camera of the node: its inputs, worker, context, statistics and outputs."""

from __future__ import annotations

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from deltaworld_ros.bundle import Manifest
from deltaworld_ros.camera.intrinsics import read_camera
from deltaworld_ros.engine import Engine
from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast.forecaster import Forecaster
from deltaworld_ros.node.frame_processor import FrameProcessor
from deltaworld_ros.node.outputs import output_table
from deltaworld_ros.node.parameters import parameter
from deltaworld_ros.node.publishers import ForecastPublishers
from deltaworld_ros.node.statistics import Statistics
from deltaworld_ros.node.throttled_log import ThrottledLog, kind_of
from deltaworld_ros.node.worker import NewestItemWorker

# Only the newest image matters, and a slow node must never hold back the camera's driver.
INPUT_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class CameraStream:
    """
    Forecasts from one camera; it follows the node's lifecycle.

    The camera named '' has the topics `image`, `camera_info` and `~/lead_...`; another name comes
    before them: `front/image`, `~/front/lead_...`. Callbacks only hand frames over; the graphs run
    in a thread of the stream's own.
    """

    def __init__(self, node: LifecycleNode, log: ThrottledLog, name: str = '') -> None:
        self.name = name
        self.statistics = Statistics()
        self.processor: FrameProcessor | None = None
        self._node = node
        self._log = log
        self._inputs = f'{name}/' if name else ''
        self._outputs = f'~/{name}' if name else '~'
        self._publishers: ForecastPublishers | None = None
        self._worker: NewestItemWorker[Image | CompressedImage] | None = None
        self._subscriptions: list[Subscription] = []

    def configure(self, engine: Engine, manifest: Manifest) -> None:
        """Make the topics and the context; raise `UserError` where parameters do not fit."""
        node = self._node
        num_futures = parameter(node, 'num_futures') or manifest.num_futures
        forecaster = Forecaster(
            engine, manifest, num_samples=parameter(node, 'num_samples') or None,
            num_futures=num_futures, max_gap=parameter(node, 'max_gap'),
            seed=parameter(node, 'seed'))
        self._publishers = ForecastPublishers(
            node, output_table(num_futures, parameter(node, 'publish_each_future')),
            manifest.leads, self._outputs)
        self.processor = FrameProcessor(
            forecaster, manifest, engine.name, self._publishers, self.statistics,
            node.get_clock(), self._log, fit=parameter(node, 'fit'),
            output_width=parameter(node, 'output_width'))

    def activate(self) -> None:
        """Start the worker and subscribe to the inputs."""
        assert self.processor is not None
        self.statistics.start()
        self._worker = NewestItemWorker(self.processor.process)
        compressed = parameter(self._node, 'transport') == 'compressed'
        self._subscriptions = [
            self._node.create_subscription(
                CameraInfo, f'{self._inputs}camera_info', self._take_camera_info, INPUT_QOS),
            self._node.create_subscription(
                CompressedImage if compressed else Image,
                f'{self._inputs}image{"/compressed" if compressed else ""}',
                self._take_image, INPUT_QOS),
        ]

    def deactivate(self) -> None:
        """Unsubscribe, stop the worker and forget the context."""
        if self._worker is None:
            return
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self._worker.stop()
        self._worker = None
        if self.processor is not None:
            self.processor.request_reset('the node was deactivated')
            self.processor.camera = None

    def cleanup(self) -> None:
        """Take the topics away."""
        self.processor = None
        if self._publishers is not None:
            self._publishers.destroy()
            self._publishers = None

    def reset(self, reason: str) -> None:
        """Restart the context before the next frame."""
        if self.processor is None:
            return
        if self._worker is not None and self._worker.clear():
            self.statistics.dropped()
        self.processor.request_reset(reason)

    def update_parameters(self) -> None:
        """Take over the parameters that may change at any time."""
        if self.processor is not None:
            self.processor.output_width = parameter(self._node, 'output_width')

    def _take_image(self, message: Image | CompressedImage) -> None:
        self.statistics.received()
        if self._worker is not None and self._worker.put(message):
            self.statistics.dropped()

    def _take_camera_info(self, message: CameraInfo) -> None:
        if self.processor is None:
            return
        try:
            self.processor.camera = read_camera(message)
        except UserError as error:
            self.processor.camera = None
            self.processor.camera_problem = str(error)
            self.statistics.refused(str(error))
            self._log.error(kind_of(error), str(error))
