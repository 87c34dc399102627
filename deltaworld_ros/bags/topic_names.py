# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Names of topics that ROS 2 accepts for those of recordings, which may have any."""

from __future__ import annotations

import re

_REFUSED = re.compile('[^A-Za-z0-9_]')


def ros_topic(name: str) -> str:
    """Return the absolute name nearest to that of a recording: '/0/my cam' is /_0/my_cam."""
    parts = [_REFUSED.sub('_', part) for part in name.split('/') if part]
    return '/' + '/'.join(f'_{part}' if part[0].isdigit() else part for part in parts)
