# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Topics of recordings get names that ROS 2 accepts, and video is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from support.bags import START, camera_info_message

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bags.messages import CameraMessages
from deltaworld_ros.bags.topic_names import ros_topic
from deltaworld_ros.errors import UserError


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


@pytest.mark.parametrize('kind', [
    'ffmpeg_image_transport_msgs/msg/FFMPEGPacket', 'foxglove_msgs/msg/CompressedVideo',
    'theora_image_transport/msg/Packet'])
def test_video_is_named_with_the_remedy(tmp_path: Path, kind: str) -> None:
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg('uint8[] data\n', kind))
    video = store.types[kind](np.zeros(3, np.uint8))
    info = camera_info_message(START, 64, 32, 50.0)
    for name, messages in {'both': [('/a/video', START, video), ('/a/info', START, info)],
                           'video': [('/a/video', START, video)]}.items():
        writer = Writer(tmp_path / name, version=9, storage_plugin=StoragePlugin.MCAP)
        with writer:
            for topic, time, message in messages:
                connection = writer.add_connection(topic, message.__msgtype__, typestore=store)
                writer.write(connection, time, store.serialize_cdr(message, message.__msgtype__))
        with pytest.raises(UserError, match=r'video is not read \(/a/video\): decode it'):
            BagFrames(tmp_path / name)
    with CameraMessages(tmp_path / 'both') as bag:
        assert bag.note.startswith('there are no images, only camera_info; video is not read')
    with pytest.raises(UserError, match='nothing|no images and no camera_info.*video is not'):
        CameraMessages(tmp_path / 'video')
