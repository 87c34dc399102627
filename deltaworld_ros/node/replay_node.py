# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Publish the images and camera_info of a bag with the timing of the recording."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from deltaworld_ros.bags.messages import (
    BagMessage,
    CameraMessages,
    check_rate,
    read_stamp,
    ros_time,
    with_stamp,
)
from deltaworld_ros.bags.reader import CAMERA_INFO, COMPRESSED, IMAGE
from deltaworld_ros.bags.topic_names import ros_topic
from deltaworld_ros.errors import UserError
from deltaworld_ros.node.throttled_log import in_one_line

_TYPES: dict[str, Any] = {IMAGE: Image, COMPRESSED: CompressedImage, CAMERA_INFO: CameraInfo}
_QUEUE = QoSProfile(depth=10)
_CLOCK_PERIOD = 0.01
# Longer ones (ns) are left out: a damaged log time must not keep a replay waiting for years.
_MAX_PAUSE = 3_600_000_000_000
# A subscriber that this side has found needs a moment to find this side.
_SETTLE = 0.5


@dataclass(frozen=True)
class ReplayOptions:
    """
    How a bag is replayed.

    `rate` is the speed (1 is real time). `stamp` is `bag` to keep the stamps or `now` to shift
    them so that the first is the present time. `image` restricts to one camera, `image_topic` and
    `camera_info_topic` rename its topics. `wait` is how many seconds to wait until an image topic
    has that number of `subscribers`.
    """

    rate: float = 1.0
    loop: bool = False
    clock: bool = False
    stamp: str = 'bag'
    image: str | None = None
    image_topic: str | None = None
    camera_info_topic: str | None = None
    wait: float = 0.0
    subscribers: int = 1


class ReplayNode(Node):
    """Publishes the messages of a bag; reliable, so that every kind of subscriber is served."""

    def __init__(self, bag: CameraMessages, options: ReplayOptions) -> None:
        super().__init__('bag_replay')
        self._bag = bag
        self._options = options
        self._publishers_by_topic: dict[str, Publisher] = {
            topic: self._publisher(topic, kind) for topic, kind in bag.topics.items()}
        self._clock_publisher: Publisher | None = (
            self.create_publisher(Clock, '/clock', 1) if options.clock else None)
        # Bag time and stamp of the first message, the stamp that it is given instead.
        self._first_time = self._first_stamp = self._new_first_stamp = 0
        self._started = 0.0

    def wait_for_subscribers(self) -> None:
        """Wait until enough nodes listen to an image; `UserError` when they do not in time."""
        images = [one for one, _ in self._images()]
        deadline = time.monotonic() + self._options.wait
        while (most := max(one.get_subscription_count() for one in images)) < \
                self._options.subscribers:
            if time.monotonic() > deadline:
                raise UserError(
                    f'{", ".join(one.topic_name for one in images)} has {most} of '
                    f'{self._options.subscribers} subscribers after {self._options.wait:g} s')
            time.sleep(0.05)
        time.sleep(_SETTLE)

    def unheard(self, seconds: float) -> str:
        """Return a warning where nobody listens to an image within so many seconds, or nothing."""
        images = [one for one, _ in self._images()]
        if not images:
            return ''
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if any(one.get_subscription_count() for one in images):
                return ''
            time.sleep(0.05)
        one, kind = self._images()[0]
        own = 'image/compressed' if kind == COMPRESSED else 'image'
        transport = 'compressed' if kind == COMPRESSED else 'raw'
        return (f'nobody subscribes to {", ".join(one.topic_name for one in images)}. A forecast '
                f'node listens to it with: forecast_node --ros-args -p autostart:=true -p '
                f'transport:={transport} -r {own}:={one.topic_name}')

    def play(self, advance: Callable[[], None]) -> None:
        """Publish every message once, each when it is due; `advance` is called for each."""
        last: int | None = None
        for message in self._bag:
            if last is None:
                self._begin(message)
            elif message.time - last > _MAX_PAUSE:
                self._started -= (message.time - last) / 1e9 / self._options.rate
            last = message.time
            self._sleep_until(last)
            if not rclpy.ok():
                return
            self._publishers_by_topic[message.topic].publish(self._stamped(message))
            advance()
        if last is None:
            raise UserError(f'no message of {", ".join(self._bag.topics)} is readable: '
                            f'{self._bag.losses}')
        # Where the recording starts again, the last image is given its time too.
        self._sleep_until(last + self._mean_interval(last))

    def _begin(self, message: BagMessage) -> None:
        self._first_time, self._first_stamp = message.time, read_stamp(message.data)
        self._started = time.monotonic()
        self._new_first_stamp = time.time_ns()

    def _stamped(self, message: BagMessage) -> bytes:
        if self._options.stamp == 'bag':
            return message.data
        elapsed = (read_stamp(message.data) - self._first_stamp) / self._options.rate
        return with_stamp(message.data, self._new_first_stamp + round(elapsed))

    def _sleep_until(self, bag_time: int) -> None:
        due = self._started + (bag_time - self._first_time) / 1e9 / self._options.rate
        while (left := due - time.monotonic()) > 0 and rclpy.ok():
            time.sleep(min(left, _CLOCK_PERIOD if self._options.clock else 0.1))
            self._publish_clock()
        self._publish_clock()

    def _publish_clock(self) -> None:
        if self._clock_publisher is None:
            return
        elapsed = (time.monotonic() - self._started) * self._options.rate
        begin = self._first_time if self._options.stamp == 'bag' else self._new_first_stamp
        clock = Clock()
        clock.clock.sec, clock.clock.nanosec = ros_time(begin + round(elapsed * 1e9))
        self._clock_publisher.publish(clock)

    def _mean_interval(self, last_time: int) -> int:
        images = max(1, self._bag.count // len(self._bag.topics) - 1)
        return min((last_time - self._first_time) // images, 1_000_000_000)

    def _images(self) -> list[tuple[Publisher, str]]:
        return [(self._publishers_by_topic[topic], kind)
                for topic, kind in self._bag.topics.items() if kind != CAMERA_INFO]

    def _publisher(self, topic: str, kind: str) -> Publisher:
        name = self._name(topic, kind)
        try:
            return self.create_publisher(_TYPES[kind], name, _QUEUE)
        except InvalidTopicNameException as error:
            option = '--camera-info-topic' if kind == CAMERA_INFO else '--image-topic'
            raise UserError(f'{name} is no topic name of ROS 2 ({str(error).splitlines()[0]}); '
                            f'give it another with {option} {ros_topic(name)}') from None

    def _name(self, topic: str, kind: str) -> str:
        options = self._options
        renamed = options.camera_info_topic if kind == CAMERA_INFO else options.image_topic
        return renamed or topic


def replay(path: str | Path, options: ReplayOptions,
           advance: Callable[[], None] = lambda: None) -> None:
    """Replay a bag until its end, or for ever with `loop`, in this process."""
    check_rate(options.rate)
    with CameraMessages(path, options.image) as bag:
        _check_renaming(bag, options)
        if bag.note:
            print(f'deltaworld: {path}: {bag.note}', file=sys.stderr)
        try:
            rclpy.init(args=[])
        except RuntimeError as error:   # rclpy's RCLError is one
            raise UserError(in_one_line(error)) from None
        node = ReplayNode(bag, options)
        told = ''
        try:
            if options.wait > 0:
                node.wait_for_subscribers()
            elif warning := node.unheard(2 * _SETTLE):
                print(f'deltaworld: {warning}', file=sys.stderr)
            while rclpy.ok():
                node.play(advance)
                if bag.losses != told:
                    told = bag.losses
                    print(f'deltaworld: {path}: {told}', file=sys.stderr)
                if not options.loop:
                    break
        finally:
            node.destroy_node()
            rclpy.try_shutdown()


def _check_renaming(bag: CameraMessages, options: ReplayOptions) -> None:
    for new_name, kinds in ((options.image_topic, (IMAGE, COMPRESSED)),
                            (options.camera_info_topic, (CAMERA_INFO,))):
        found = sorted(topic for topic, kind in bag.topics.items() if kind in kinds)
        if new_name and len(found) != 1:
            raise UserError(f'{len(found)} topics cannot be renamed to {new_name}; choose one '
                            f'with --image: {", ".join(found) or "none"}')
