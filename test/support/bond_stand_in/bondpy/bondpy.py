# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The part of bondpy's `Bond` that the node uses, with the same names; it watches nobody."""

from __future__ import annotations

import threading
import uuid
from typing import Any

from bond.msg import Status


class Bond:
    """Heartbeats of one side."""

    def __init__(self, node: Any, topic: str, bond_id: str, on_broken: Any = None,
                 on_formed: Any = None) -> None:
        self.node, self.topic, self.id = node, topic, bond_id
        self.instance_id = str(uuid.uuid4())
        self.heartbeat_period, self.heartbeat_timeout = 1.0, 4.0
        self.pub = node.create_publisher(Status, topic, 1)
        self._ended = threading.Event()

    def start(self) -> None:
        self.sub = self.node.create_subscription(
            Status, self.topic, lambda message: None, 1)
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def shutdown(self) -> None:
        self._ended.set()
        self._thread.join()
        self.sub.destroy()
        self._publish(False)
        self.pub.destroy()

    def _beat(self) -> None:
        while not self._ended.wait(self.heartbeat_period):
            self._publish(True)

    def _publish(self, active: bool) -> None:
        self.pub.publish(Status(
            id=self.id, instance_id=self.instance_id, active=active,
            heartbeat_timeout=self.heartbeat_timeout, heartbeat_period=self.heartbeat_period))
