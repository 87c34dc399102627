# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The odometry of a recording: speed and rate of turning by stamp."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from deltaworld_ros.bags.reader import BagReader, stamp_of
from deltaworld_ros.errors import UserError

ODOMETRY = 'nav_msgs/msg/Odometry'


class Odometry:
    """Speeds (m/s) and yaw rates (rad/s) of one topic, at ascending stamps (ns)."""

    def __init__(self, stamps: np.ndarray, speeds: np.ndarray, yaw_rates: np.ndarray) -> None:
        order = np.argsort(stamps, kind='stable')
        self._stamps, self._speeds = stamps[order], speeds[order]
        self._yaw_rates = yaw_rates[order]

    def at(self, stamp: int, oldest: float) -> tuple[float, float] | None:
        """Return the newest speed and yaw rate not after `stamp`, None if over `oldest` s old."""
        place = int(np.searchsorted(self._stamps, stamp, side='right')) - 1
        if place < 0 or stamp - self._stamps[place] > oldest * 1e9:
            return None
        return float(self._speeds[place]), float(self._yaw_rates[place])


def read_odometry(path: Path, topic: str | None = None) -> Odometry | None:
    """
    Read the only `nav_msgs/Odometry` topic of a bag, or the one that is named.

    Return None where there is none, or several and no name. Damaged messages and values that are
    not finite are left out. Raise `UserError` where the named topic is not there.
    """
    with contextlib.closing(BagReader(path)) as reader:
        found = {one.topic: one for one in reader.topics if one.msgtype == ODOMETRY}
        if topic and topic not in found:
            raise UserError(f'{path}: no topic {topic!r} of type Odometry; it has '
                            f'{", ".join(sorted(found)) or "none"}')
        if not topic and len(found) != 1:
            return None
        chosen = found[topic] if topic else next(iter(found.values()))
        rows = []
        for used, _, data in reader.messages([chosen]):
            try:
                message = reader.deserialize(data, used.msgtype)
            except Exception:  # damaged data fails in as many ways as there are fields
                continue
            twist = message.twist.twist
            rows.append((stamp_of(message), twist.linear.x, twist.angular.z))
    rows = [row for row in rows if np.isfinite(row[1:]).all()]
    if not rows:
        return None
    stamps, speeds, rates = zip(*rows, strict=True)
    return Odometry(np.array(stamps, np.int64), np.array(speeds), np.array(rates))
