# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stamps of messages as whole nanoseconds, which no float holds."""

from __future__ import annotations

from std_msgs.msg import Header


def stamp_nanoseconds(header: Header) -> int:
    """Return the stamp of a header in nanoseconds."""
    return int(header.stamp.sec) * 10**9 + int(header.stamp.nanosec)
