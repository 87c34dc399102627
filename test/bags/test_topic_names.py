# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Topics of recordings get names that ROS 2 accepts."""

from __future__ import annotations

import pytest

from deltaworld_ros.bags.topic_names import ros_topic


@pytest.mark.parametrize(('name', 'accepted'), [
    ('/camera/image_raw', '/camera/image_raw'),
    ('camera/image_rect/compressed', '/camera/image_rect/compressed'),
    ('/camera/0/image_raw', '/camera/_0/image_raw'),
    ('/device_0/sensor_1/RGB Camera/image/data', '/device_0/sensor_1/RGB_Camera/image/data'),
    ('/my-cam//image_raw/', '/my_cam/image_raw'),
    ('/kamera/käfer~{x}', '/kamera/k_fer__x_')])
def test_nearest_name(name: str, accepted: str) -> None:
    assert ros_topic(name) == accepted


def test_rclpy_accepts_them() -> None:
    validation = pytest.importorskip('rclpy.validate_full_topic_name')
    for name in ('/0/1', '/a b', '/~x', '/{y}', '/ü', '/9_', 'x//y', '/a.b:c'):
        assert validation.validate_full_topic_name(ros_topic(name))
