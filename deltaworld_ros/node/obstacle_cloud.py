# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Read the clouds of obstacles that the forecast node publishes."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import PointCloud2

from deltaworld_ros.errors import UserError
from deltaworld_ros.node.planner_messages import OBSTACLE_POINT
from deltaworld_ros.planning.obstacles import Obstacles


def read_obstacles(message: PointCloud2) -> Obstacles:
    """Return the obstacles of a cloud; raise `UserError` where it is not laid out as ours are."""
    kind = OBSTACLE_POINT
    assert kind.names is not None and kind.fields is not None
    layout = [(field.name, field.offset) for field in message.fields]
    expected = [(name, kind.fields[name][1]) for name in kind.names]
    if layout != expected or message.point_step != kind.itemsize or message.is_bigendian:
        raise UserError(f'obstacles have the fields {", ".join(name for name, _ in layout)}; '
                        f'those of ~/futures/obstacles are expected: {", ".join(kind.names)}')
    number = message.width * message.height
    if len(message.data) != number * kind.itemsize:
        raise UserError(f'obstacles have {len(message.data)} bytes; {number * kind.itemsize} are '
                        f'expected for {number} points')
    found = np.frombuffer(message.data, kind)
    return Obstacles(
        np.stack([found[axis] for axis in 'xyz'], axis=-1), found['label'],
        found['dynamic'].astype(bool), found['probability'], found['lead'], found['future'])
