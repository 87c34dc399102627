# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The subscription to a camera's images: its quality of service, losses, and what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from deltaworld_ros.node.throttled_log import ThrottledLog

TYPES = {'sensor_msgs/msg/Image': 'raw', 'sensor_msgs/msg/CompressedImage': 'compressed'}


class ImageInput:
    """
    Subscribes to images, newest only, as reliably as their publishers are.

    A large image is many fragments, and without reliability one that is lost loses the image. With
    `quality` auto the subscription is reliable where every publisher of the topic is; `reliable`
    and `sensor_data` (best effort) fix it. `lost` is called with the number of messages lost.
    """

    def __init__(self, node: Node, topic: str, compressed: bool, quality: str,
                 take: Callable[[Any], None], lost: Callable[[int], None],
                 log: ThrottledLog) -> None:
        self.topic = node.resolve_topic_name(topic)
        self._node = node
        self._type = CompressedImage if compressed else Image
        self._type_name = f'sensor_msgs/msg/{self._type.__name__}'
        self._quality = quality
        self._take = take
        self._lost = lost
        self._log = log
        self._reliable = self._matching_reliability()
        self._subscription = self._subscribe()
        number = len(self._publishers())
        log.info(f'images: {self.topic} ({self._type_name}), {number} '
                 f'publisher{"" if number == 1 else "s"}, {self._quality_name}')

    def update(self) -> None:
        """Subscribe anew where the publishers' reliability has changed."""
        reliable = self._matching_reliability()
        if reliable != self._reliable:
            self._reliable = reliable
            self._node.destroy_subscription(self._subscription)
            self._subscription = self._subscribe()
            self._log.info(f'images: {self.topic} is subscribed to anew, {self._quality_name}')

    def problem(self) -> str:
        """Return why no images arrive, as far as the graph of nodes shows it, or nothing."""
        others = {one.topic_type for one in self._node.get_publishers_info_by_topic(self.topic)}
        if self._type_name in others:
            return ''
        if others:
            found = min(others)
            remedy = ''
            if found in TYPES:
                own = 'image' if TYPES[found] == 'raw' else 'image/compressed'
                remedy = f'; set transport to {TYPES[found]} and remap `{own}` to it'
            return f'{self.topic} is published as {found}, not as {self._type_name}{remedy}'
        base = self.topic.removesuffix('/compressed')
        other = base if base != self.topic else f'{base}/compressed'
        for one in self._node.get_publishers_info_by_topic(other):
            if TYPES.get(one.topic_type):
                return (f'nobody publishes {self.topic}, but {other} is published: set transport '
                        f'to {TYPES[one.topic_type]}')
        topics = [name for name, types in self._node.get_topic_names_and_types()
                  if TYPES.keys() & set(types) and self._node.count_publishers(name)
                  and not name.startswith(f'{self._node.get_fully_qualified_name()}/')]
        own = 'image/compressed' if base != self.topic else 'image'
        hint = f' (images are on {", ".join(sorted(topics)[:3])}; remap `{own}`)' if topics else ''
        return f'nobody publishes {self.topic}{hint}'

    def destroy(self) -> None:
        """End the subscription."""
        self._node.destroy_subscription(self._subscription)

    @property
    def _quality_name(self) -> str:
        return 'reliable' if self._reliable else 'best effort'

    def _publishers(self) -> list[Any]:
        return [one for one in self._node.get_publishers_info_by_topic(self.topic)
                if one.topic_type == self._type_name]

    def _matching_reliability(self) -> bool:
        if self._quality != 'auto':
            return self._quality == 'reliable'
        publishers = self._publishers()
        return bool(publishers) and all(
            one.qos_profile.reliability == ReliabilityPolicy.RELIABLE for one in publishers)

    def _subscribe(self) -> Subscription:
        # Only the newest image matters: a slow node must never hold back the camera's driver.
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE if self._reliable
                         else ReliabilityPolicy.BEST_EFFORT)
        events = SubscriptionEventCallbacks(
            message_lost=lambda status: self._lost(status.total_count_change))
        try:
            return self._node.create_subscription(
                self._type, self.topic, self._take, qos, event_callbacks=events)
        except UnsupportedEventTypeError:   # some middlewares do not count losses
            return self._node.create_subscription(self._type, self.topic, self._take, qos)
