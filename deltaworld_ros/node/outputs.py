# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The table of the node's outputs: names, types, what each needs, and how it is made.

A new output is one row here and one function that makes its message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any

from nav_msgs.msg import OccupancyGrid
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2
from std_msgs.msg import String

from deltaworld_ros.node import map_messages, planner_messages
from deltaworld_ros.node.frame_result import FrameResult
from deltaworld_ros.node.messages import forecast_info_message, score_message

OUTPUT_QOS = QoSProfile(depth=5)   # reliable, volatile
# A stack of all futures is large: a slow reader must not make the node keep five of them.
STACK_QOS = QoSProfile(depth=1)


class Leads(Enum):
    """Which topics a row stands for."""

    EACH = 'one for the present and one for each lead'
    AHEAD = 'one for each lead'
    ALL = 'one for the whole forecast'


class Needs(Enum):
    """What of a forecast a message is made of; nothing else is computed."""

    FRAME = 'nothing: it tells of the frame itself, after all other outputs'
    FUSED = 'the fused maps'
    FUTURES = 'the fused maps and those of each future'
    PICTURE = 'a picture of the likeliest future'
    BOUND = 'the fused maps of every lead, and what came of earlier ones'
    SCORE = 'earlier forecasts, and what came of them'

    @property
    def late(self) -> bool:
        """Say whether the message waits until all others are published."""
        return self in (Needs.FRAME, Needs.SCORE)


@dataclass(frozen=True)
class Output:
    """
    One row: `make` turns a result and the number of a lead into a message, or its bytes.

    The lead is 0 for the present and for rows of the whole forecast. None is not published. A row
    that is made `always` is so for every frame, also without a (whole) forecast.
    """

    name: str
    message_type: Any
    make: Callable[[FrameResult, int], Any]
    leads: Leads = Leads.EACH
    needs: Needs = Needs.FUSED
    always: bool = False
    plans: bool = False   # for planners, who need the motion of the robot
    qos: QoSProfile = field(default_factory=lambda: OUTPUT_QOS)


def output_table(num_futures: int, publish_each_future: bool, self_score: bool,
                 paints: bool = False) -> list[Output]:
    """Return the rows, in the order in which they are published; `paints`: the bundle can."""
    rows = [
        Output('segmentation', Image, map_messages.segmentation),
        Output('depth', Image, map_messages.depth),
        Output('camera_info', CameraInfo, map_messages.CameraInfoMaker()),
        Output('confidence', Image, map_messages.confidence, Leads.AHEAD),
        Output('futures/segmentation', Image, map_messages.futures_segmentation, Leads.AHEAD,
               Needs.FUTURES, qos=STACK_QOS),
        Output('futures/depth', Image, map_messages.futures_depth, Leads.AHEAD, Needs.FUTURES,
               qos=STACK_QOS),
        Output('view', Image, map_messages.view, needs=Needs.FUTURES),
    ]
    if publish_each_future:
        for number in range(num_futures):
            rows += [
                Output(f'future_{number}/segmentation', Image,
                       partial(map_messages.future_segmentation, number), Leads.AHEAD,
                       Needs.FUTURES),
                Output(f'future_{number}/depth', Image,
                       partial(map_messages.future_depth, number), Leads.AHEAD, Needs.FUTURES),
            ]
    if paints:
        rows.append(Output('rgb', Image, map_messages.picture, Leads.AHEAD, Needs.PICTURE,
                           qos=STACK_QOS))
    if self_score:
        rows.append(Output('score', String, score_message, Leads.ALL, Needs.SCORE, always=True))
    rows += [
        Output('points', PointCloud2, planner_messages.points, plans=True),
        Output('scan_bound', LaserScan, planner_messages.scan_bound, Leads.AHEAD, Needs.BOUND,
               plans=True),
        *(Output(name, message_type, make, Leads.ALL, needs, always=True, plans=True)
          for name, message_type, make, needs in (
              ('obstacles', PointCloud2, planner_messages.obstacles, Needs.FUSED),
              ('scan', LaserScan, planner_messages.scan, Needs.FUSED),
              ('futures/obstacles', PointCloud2, planner_messages.future_obstacles,
               Needs.FUTURES),
              ('occupancy', OccupancyGrid, planner_messages.occupancy_grid, Needs.FUTURES),
              ('risk', String, planner_messages.risk, Needs.FUTURES))),
    ]
    rows.append(Output('forecast_info', String, forecast_info_message, Leads.ALL, Needs.FRAME,
                       always=True))
    return rows
