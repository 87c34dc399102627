# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is odd about topics of recordings: names that ROS 2 refuses, and cameras as video."""

from __future__ import annotations

import re
from collections.abc import Iterable

from deltaworld_ros.bags.storage import Topic

# Message types of video codecs, whatever package they are of.
_VIDEO = ('/FFMPEGPacket', '/CompressedVideo', 'theora_image_transport/msg/Packet')
_REFUSED = re.compile('[^A-Za-z0-9_]')


def ros_topic(name: str) -> str:
    """Return the absolute name nearest to that of a recording: '/0/my cam' is /_0/my_cam."""
    parts = [_REFUSED.sub('_', part) for part in name.split('/') if part]
    return '/' + '/'.join(f'_{part}' if part[0].isdigit() else part for part in parts)


def video_hint(topics: Iterable[Topic]) -> str:
    """Return what to do about topics of video packets, with a semicolon before; '' for none."""
    names = sorted(one.topic for one in topics if one.msgtype.endswith(_VIDEO) and one.msgcount)
    return f'; video is not read ({", ".join(names)}): decode it to images first, as ' \
           '`ros2 run image_transport republish` does' if names else ''
