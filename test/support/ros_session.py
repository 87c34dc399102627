# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Real ROS 2 in tests: the node in a process of its own, a client here, DDS between them.

Nothing sleeps for a fixed time: the client spins until what it waits for is there, and fails with
the node's log when that takes longer than a generous deadline.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header, String
from std_srvs.srv import Trigger

from deltaworld_ros.node.messages import image_message

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 60.0
STRIDE_NS = 200_000_000
# Set before the first rclpy.init of this process, and inherited by the nodes.
os.environ.setdefault('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp')
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'


@contextmanager
def own_domain() -> Iterator[int]:
    """Yield a ROS domain that no other test on this machine uses meanwhile."""
    for domain in range(20, 100):
        with open(Path(tempfile.gettempdir()) / f'deltaworld_test_domain_{domain}', 'w') as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            yield domain
            return
    raise RuntimeError('every ROS domain is in use')


class NodeProcess:
    """A node in a process of its own, whose output goes to a file."""

    def __init__(self, domain: int, log: Path, *, script: str | None = None,
                 environment: dict[str, str] | None = None, **parameters: Any) -> None:
        program = [script] if script else ['-m', 'deltaworld_ros.node.forecast_node']
        settings = [word for name, value in parameters.items() for word in (
            '-p', f'{name}:={str(value).lower() if isinstance(value, bool) else value}')]
        self._log = log
        with log.open('w') as output:
            self.process = subprocess.Popen(
                [sys.executable, *program, '--ros-args', *settings], cwd=ROOT,
                stdout=output, stderr=subprocess.STDOUT,
                env={**os.environ, 'ROS_DOMAIN_ID': str(domain), 'OMP_NUM_THREADS': '1',
                     'PYTHONPATH': f'{ROOT}:{os.environ.get("PYTHONPATH", "")}',
                     **(environment or {})})

    @property
    def log(self) -> str:
        return self._log.read_text()

    def lines(self, text: str) -> list[str]:
        """Return the log lines that contain `text`."""
        return [line for line in self.log.splitlines() if text in line]

    def resident_bytes(self) -> int:
        status = Path(f'/proc/{self.process.pid}/statm').read_text()
        return int(status.split()[1]) * os.sysconf('SC_PAGE_SIZE')

    def stop(self) -> int:
        """Ask the process to end, as Ctrl-C or a launch file does, and give its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise
        return self.process.wait()


class Client:
    """Publishes images to a node named `forecast` and collects what it publishes."""

    def __init__(self, domain: int, process: NodeProcess, compressed: bool = False) -> None:
        self.process = process
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = Node('client', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.images = self.node.create_publisher(
            CompressedImage if compressed else Image,
            'image/compressed' if compressed else 'image', qos_profile_sensor_data)
        self.camera_infos = self.node.create_publisher(CameraInfo, 'camera_info', 5)
        self._subscriptions: list[Any] = []
        self._services: dict[str, Any] = {}
        self.diagnostics: dict[str, str] = {}
        self.diagnostics_level = 0
        self.diagnostics_stamp = 0
        self.diagnostics_text = ''
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._diagnose, 10)
        self.infos = self.subscribe(String, 'forecast_info')
        self.stamp = time.time_ns() - 600 * 10**9

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def subscribe(self, kind: Any, topic: str, qos: QoSProfile | int = 10) -> list[Any]:
        """Collect the messages of a topic of the node."""
        messages: list[Any] = []
        self._subscriptions.append(self.node.create_subscription(
            kind, f'/forecast/{topic}', messages.append, qos))
        return messages

    def unsubscribe_leads(self) -> None:
        """End the subscriptions to every topic below the leads."""
        for subscription in self._subscriptions[:]:
            if '/lead_' in subscription.topic_name:
                self.node.destroy_subscription(subscription)
                self._subscriptions.remove(subscription)

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = DEADLINE) -> None:
        """Spin until `condition` holds."""
        if not self.spin(condition, seconds):
            raise AssertionError(f'after {seconds} s still not: {what}\n{self.process.log}')

    def spin(self, condition: Callable[[], Any], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline or self.process.process.poll() is not None:
                return bool(condition())
            self._executor.spin_once(timeout_sec=0.05)
        return True

    def call(self, kind: Any, service: str, **request: Any) -> Any:
        """Call a service and wait for its answer."""
        future = self._request(kind, service, request)
        self.wait(future.done, f'answer of {service}')
        return future.result()

    def _request(self, kind: Any, service: str, request: dict[str, Any]) -> Any:
        if service not in self._services:
            client = self.node.create_client(kind, f'/forecast/{service}')
            self._services[service] = client
            self.wait(client.service_is_ready, f'service {service}')
            self._connect_service(kind, service)
        return self._services[service].call_async(kind.Request(**request))

    def _connect_service(self, kind: Any, service: str) -> None:
        """Call a new service, with an empty request, until an answer comes."""
        # A server that has not discovered its client yet throws the answer away.
        empty = {'transition': Transition(label='none such')} if kind is ChangeState else {}

        def answered() -> bool:
            return self.spin(self._request(kind, service, empty).done, 5.0)

        self.wait(answered, f'answer of {service}')

    def change_state(self, transition: str) -> bool:
        number = getattr(Transition, f'TRANSITION_{transition.upper()}')
        return bool(self.call(ChangeState, 'change_state',
                              transition=Transition(id=number)).success)

    @property
    def state(self) -> str:
        return str(self.call(GetState, 'get_state').current_state.label)

    def reset_context(self) -> Any:
        return self.call(Trigger, 'reset_context')

    def fresh_diagnostics(self) -> dict[str, str]:
        """Return diagnostics that were made after this call (by the system's clock)."""
        called = time.time_ns()
        self.wait(lambda: self.diagnostics_stamp > called, 'fresh diagnostics')
        return self.diagnostics

    def image(self, width: int = 160, height: int = 120, level: int = 90,
              encoding: str = 'rgb8', frame_id: str = 'camera') -> Image:
        """Make an image with the stamp of now's frame."""
        pixels = np.full((height, width, 3), level, np.uint8)
        pixels[: height // 2] = (60, 80, 160)
        return image_message(self.header(frame_id), pixels, encoding)

    def header(self, frame_id: str = 'camera') -> Header:
        header = Header(frame_id=frame_id)
        header.stamp.sec, header.stamp.nanosec = divmod(self.stamp, 10**9)
        return header

    def acknowledged(self, stamp: int) -> bool:
        """Tell whether the node has processed the image of `stamp` (forecast_info says so)."""
        return any(stamp == stamp_of_info(info) for info in self.infos)

    def connect(self, image: Callable[[], Any] | None = None) -> None:
        """Send frames until one is processed: then both directions are connected."""
        image = image or self.image
        self.wait(lambda: self.images.get_subscription_count() > 0, 'subscription to the images')

        def probe() -> bool:
            self.stamp += STRIDE_NS
            stamp = self.stamp
            self.images.publish(image())
            return self.spin(lambda: self.acknowledged(stamp), 1.0)

        self.wait(probe, 'answer to an image')

    def feed(self, count: int = 1, **image: Any) -> None:
        """Send frames one stride apart, each after the node has processed the one before."""
        for _ in range(count):
            self.stamp += STRIDE_NS
            self.send(self.image(**image))

    def send(self, message: Any) -> None:
        """Send a message and wait until the node has processed it."""
        self.images.publish(message)
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        self.wait(lambda: self.acknowledged(stamp), 'answer to an image')

    def feed_until(self, condition: Callable[[], Any], what: str, **image: Any) -> None:
        """Send frames until what they bring is there, at most a hundred."""
        for _ in range(100):
            self.feed(**image)
            if self.spin(condition, 0.1):
                return
        raise AssertionError(f'100 images did not bring: {what}\n{self.process.log}')

    def _diagnose(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == 'forecast: forecast':
                self.diagnostics = {pair.key: pair.value for pair in status.values}
                self.diagnostics_level = int.from_bytes(status.level, 'little')
                self.diagnostics_text = status.message
                stamp = message.header.stamp
                self.diagnostics_stamp = stamp.sec * 10**9 + stamp.nanosec


def stamp_of_info(info: String) -> int:
    stamp = json.loads(info.data)['stamp']
    return int(stamp['sec']) * 10**9 + int(stamp['nanosec'])


@contextmanager
def running(log: Path, *, compressed: bool = False, script: str | None = None,
            environment: dict[str, str] | None = None, **parameters: Any) -> Iterator[Client]:
    """Run a node and a client of it; at the end the node must stop cleanly."""
    with own_domain() as domain:
        process = NodeProcess(domain, log, script=script, environment=environment,
                              transport='compressed' if compressed else 'raw', **parameters)
        try:
            client = Client(domain, process, compressed)
            try:
                yield client
            finally:
                client.close()
        finally:
            code = process.stop()
        assert code == 0, process.log
