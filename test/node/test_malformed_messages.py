# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Malformed images and camera_infos are refused in one line, over DDS."""

from __future__ import annotations

import array
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy')
from sensor_msgs.msg import CameraInfo, CompressedImage
from support.ros_session import STRIDE_NS, Client, running

pytestmark = pytest.mark.live


@pytest.fixture(scope='module')
def compressed(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    log = tmp_path_factory.mktemp('compressed') / 'log'
    with running(log, compressed=True, bundle=tiny_bundle, autostart=True) as client:
        client.connect(lambda: jpeg(client))
        yield client


JPEG = bytes(cv2.imencode('.jpg', np.full((120, 160, 3), 90, np.uint8))[1])


def jpeg(client: Client, data: bytes = JPEG, image_format: str = 'jpeg') -> CompressedImage:
    return CompressedImage(header=client.header(), format=image_format,
                           data=array.array('B', data))


def check_one_error(client: Client, bad: Any, publisher: Any, named: str, good: Any) -> None:
    """Send the bad message, wait for its one log line, and see a good image answered."""
    before = len(client.process.lines(named))
    client.stamp += STRIDE_NS
    publisher.publish(bad)
    client.wait(lambda: len(client.process.lines(named)) > before, f'error {named!r}')
    client.stamp += STRIDE_NS
    client.send(good())
    lines = client.process.lines(named)
    assert len(lines) == before + 1 and '[ERROR]' in lines[-1]
    assert 'Traceback' not in client.process.log


@pytest.mark.parametrize(('changes', 'named'), [
    ({'step': 100}, 'step is 100 bytes; a row of 160 pixels rgb8 needs 480'),
    ({'step': 0}, 'step is 0 bytes'),
    ({'step': 4000}, 'rows of step 4000 need 480000'),
    ({'data': array.array('B')}, 'image data has 0 bytes'),
    ({'data': array.array('B', bytes(777))}, 'image data has 777 bytes'),
    ({'encoding': 'wobbly'}, "encoding 'wobbly' is unknown"),
    ({'encoding': ''}, "encoding '' is unknown"),
    ({'encoding': '64FC1'}, "encoding '64FC1' is unknown"),
    ({'encoding': 'bgra16'}, 'a row of 160 pixels bgra16 needs 1280'),
    ({'width': 0}, 'image size 0x120 is empty'),
    ({'height': 0}, 'image size 160x0 is empty'),
    ({'width': 2**32 - 1, 'height': 2**32 - 1, 'step': 2**32 - 1}, 'pixels rgb8 needs 1288490'),
])
def test_malformed_images(raw: Client, changes: dict[str, Any], named: str) -> None:
    message = raw.image()
    for name, value in changes.items():
        setattr(message, name, value)
    check_one_error(raw, message, raw.images, named, raw.image)


@pytest.mark.parametrize(('changes', 'named'), [
    ({'k': [math.nan] * 9}, 'camera_info: K holds values that are not finite'),
    ({'k': [0.0] * 9}, 'focal lengths in K are 0 and 0'),
    ({'p': [math.inf] * 12}, 'camera_info: P holds values'),
])
def test_malformed_camera_infos(raw: Client, changes: dict[str, Any], named: str) -> None:
    raw.wait(lambda: raw.camera_infos.get_subscription_count() > 0, 'subscription')
    message = CameraInfo(width=160, height=120, k=[100., 0., 80., 0., 100., 60., 0., 0., 1.])
    for name, value in changes.items():
        setattr(message, name, value)
    check_one_error(raw, message, raw.camera_infos, named, raw.image)
    raw.fresh_diagnostics()
    assert raw.diagnostics_level >= 1
    assert named in raw.diagnostics_text


@pytest.mark.parametrize(('data', 'image_format', 'named'), [
    (b'', 'jpeg', "('jpeg', 0 bytes) is empty"),
    (b'not an image', 'png', "('png', 12 bytes) cannot be decoded"),
    (JPEG[:len(JPEG) // 2], 'jpeg', 'is a truncated JPEG'),
    (JPEG, '16UC1; compressedDepth png', 'is a depth image'),
])
def test_malformed_compressed_images(
        compressed: Client, data: bytes, image_format: str, named: str) -> None:
    check_one_error(compressed, jpeg(compressed, data, image_format), compressed.images, named,
                    lambda: jpeg(compressed))


def test_refused_messages_are_counted(raw: Client) -> None:
    refused = int(raw.fresh_diagnostics()['messages_refused'])
    message = raw.image()
    message.encoding = 'countable'
    raw.images.publish(message)
    raw.wait(lambda: int(raw.diagnostics['messages_refused']) == refused + 1, 'the count')
    assert raw.diagnostics_level >= 1 and 'countable' in raw.diagnostics['last_error']
    assert 'a message was refused' in raw.diagnostics_text


def test_endless_names_are_refused(raw: Client) -> None:
    check_one_error(raw, raw.image(frame_id='x' * 10**5), raw.images,
                    'frame_id has 100000 characters; at most 256 are accepted', raw.image)
    message = raw.image()
    message.encoding = 'y' * 10**5
    check_one_error(raw, message, raw.images, 'encoding has 100000 characters', raw.image)
    assert max(map(len, raw.process.log.splitlines())) < 1000
