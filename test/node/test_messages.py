# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Arrays and facts as messages."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.node.messages import (
    image_message,
    label_info_message,
    restamped,
    serialized_image,
    vision_label_info_message,
)


@pytest.mark.parametrize(('shape', 'dtype', 'kind', 'encoding', 'step'), [
    ((4, 6), np.uint8, 'mono8', 'mono8', 6),
    ((4, 6, 3), np.uint8, 'rgb8', 'rgb8', 18),
    ((4, 6), np.float32, None, '32FC1', 24),
    ((4, 6, 5), np.uint8, None, '8UC5', 30),
    ((4, 6, 1), np.uint8, None, '8UC1', 6),
    ((4, 6, 7), np.float32, None, '32FC7', 168),
])
def test_images_survive_the_wire(
        shape: tuple[int, ...], dtype: Any, kind: str | None, encoding: str, step: int) -> None:
    pixels = (100 * np.random.default_rng(0).random(shape)).astype(dtype)
    header = Header(frame_id='eye')
    header.stamp.sec, header.stamp.nanosec = 12, 34
    # A transposed view is not contiguous: the message must hold it in row order all the same.
    view = np.asfortranarray(pixels)
    wire = serialize_message(image_message(header, view, kind))
    message = deserialize_message(wire, Image)
    assert (message.width, message.height) == (6, 4)
    assert (message.encoding, message.step, message.is_bigendian) == (encoding, step, 0)
    assert message.header == header
    assert (np.frombuffer(message.data, dtype).reshape(shape) == pixels).all()
    # Not the same bytes: what stands between aligned fields is left over from other memory.
    quick = serialized_image(header, view, kind)
    assert len(quick) == len(wire)
    assert deserialize_message(quick, Image) == message


def test_restamped_messages_keep_all_but_the_stamp() -> None:
    info = CameraInfo(header=Header(frame_id='eye'), width=7, d=[1.0, 2.0])
    later = Header(frame_id='ignored')
    later.stamp.sec, later.stamp.nanosec = -3, 999_999_999
    message = deserialize_message(restamped(serialize_message(info), later), CameraInfo)
    info.header.stamp = later.stamp
    assert message == info


def test_large_images_are_made_fast() -> None:
    """Assigning an array to `data` takes 2 s for this; the limit has room for a busy machine."""
    pixels = np.zeros((1080, 1920, 3), np.uint8)
    started = time.process_time()
    image_message(Header(), pixels, 'rgb8')
    assert time.process_time() - started < 0.3


def test_label_info(tiny_bundle: Path) -> None:
    facts = json.loads(label_info_message(load_bundle(tiny_bundle).manifest).data)
    assert facts['bundle'] == 'tiny' and facts['unlabelled'] == 255
    assert facts['classes'][3] == {
        'id': 3, 'name': 'vehicle', 'color': [0, 0, 142], 'role': 'dynamic'}


def test_vision_label_info(tiny_bundle: Path) -> None:
    """vision_msgs comes with no wheel: its two types are stood in for by their field names."""
    types = SimpleNamespace(
        LabelInfo=lambda header, class_map: SimpleNamespace(header=header, class_map=class_map),
        VisionClass=lambda class_id, class_name: (class_id, class_name))
    header = Header(frame_id='eye')
    message = vision_label_info_message(types, header, load_bundle(tiny_bundle).manifest)
    assert message.header is header
    assert message.class_map == [(0, 'road'), (1, 'vegetation'), (2, 'sky'), (3, 'vehicle')]
