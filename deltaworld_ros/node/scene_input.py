# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Put clouds of obstacles and the facts about their futures together, by their stamp."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String

from deltaworld_ros.errors import UserError
from deltaworld_ros.node.obstacle_cloud import read_obstacles
from deltaworld_ros.node.stamps import stamp_nanoseconds
from deltaworld_ros.planning.governor import Scene
from deltaworld_ros.planning.obstacles import Obstacles

LATE = 1.0   # s by which stamps of scenes may be out of order
_KEPT = 10   # of each kind that wait for the other


class SceneInput:
    """
    Subscribes to `obstacles` and `forecast_info` of a forecast node; keeps the newest scene.

    `refuse` is called with a text for messages that cannot be used.
    """

    def __init__(self, node: Node, base_frame: str, refuse: Callable[[str], None]) -> None:
        self.newest: Scene | None = None
        self.problem = 'nobody publishes obstacles'
        self._base_frame = base_frame
        self._refuse = refuse
        self._clouds: dict[int, Obstacles] = {}
        self._infos: dict[int, dict[str, Any]] = {}
        node.create_subscription(
            PointCloud2, 'obstacles', self._take_cloud, qos_profile_sensor_data)
        node.create_subscription(
            String, 'forecast_info', self._take_info, qos_profile_sensor_data)

    def clear(self) -> None:
        """Forget everything: the clock jumped back."""
        self.newest = None
        self._clouds.clear()
        self._infos.clear()

    def _take_cloud(self, message: PointCloud2) -> None:
        frame = message.header.frame_id
        try:
            if frame != self._base_frame:
                raise UserError(f'obstacles are in the frame {frame[:100]!r}, base_frame is '
                                f'{self._base_frame!r}: set camera_pose and base_frame of the '
                                'forecast node')
            found = read_obstacles(message)
        except UserError as error:
            self._complain(str(error))
            return
        stamp = stamp_nanoseconds(message.header)
        _keep(self._clouds, stamp, found)
        self._join(stamp)

    def _take_info(self, message: String) -> None:
        try:
            facts = json.loads(message.data)
            if not isinstance(facts, dict):
                raise ValueError('it is no object')
            # Where a camera's clock is ahead, obstacles have another stamp than the image.
            its = facts['planner_stamp' if 'planner_stamp' in facts else 'stamp']
            stamp = int(its['sec']) * 10**9 + int(its['nanosec'])
            values = {name: [float(value) for value in facts[name]]
                      for name in ('leads', 'weights')}
            if not all(math.isfinite(lead) for lead in values['leads']):
                raise ValueError('leads that are not finite')
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            self._complain(f'forecast_info cannot be read: {type(error).__name__} {error}')
            return
        _keep(self._infos, stamp, values)
        self._join(stamp)

    def _join(self, stamp_ns: int) -> None:
        if stamp_ns not in self._clouds or stamp_ns not in self._infos:
            self.problem = 'obstacles and forecast_info of one stamp have not arrived'
            return
        obstacles, facts = self._clouds.pop(stamp_ns), self._infos.pop(stamp_ns)
        behind = 0.0 if self.newest is None else self.newest.stamp - stamp_ns * 1e-9
        # What comes a little late is left out. After a step back it is the others that are wrong:
        # one misdated scene must not keep out all that follow.
        if behind <= 0 or behind > LATE:
            self.newest = Scene(
                stamp_ns * 1e-9, tuple(facts['leads']), np.array(facts['weights'], np.float32),
                obstacles)
            self.problem = ''

    def _complain(self, text: str) -> None:
        self.problem = text
        self._refuse(text)


def _keep(waiting: dict[int, Any], stamp_ns: int, value: Any) -> None:
    waiting[stamp_ns] = value
    while len(waiting) > _KEPT:
        del waiting[next(iter(waiting))]
