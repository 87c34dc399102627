# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Write small real bags for tests: any storage, raw or compressed, with or without truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_JAZZY)
START = 1_700_000_000_000_000_000


def header(stamp: int, frame_id: str = 'camera') -> Any:
    time = STORE.types['builtin_interfaces/msg/Time'](*divmod(stamp, 1_000_000_000))
    return STORE.types['std_msgs/msg/Header'](stamp=time, frame_id=frame_id)


def image_message(stamp: int, array: np.ndarray, encoding: str = 'rgb8') -> Any:
    height, width = array.shape[:2]
    data = np.ascontiguousarray(array).view(np.uint8).ravel()
    return STORE.types['sensor_msgs/msg/Image'](
        header=header(stamp), height=height, width=width, encoding=encoding, is_bigendian=0,
        step=data.size // height, data=data)


def compressed_message(stamp: int, rgb: np.ndarray) -> Any:
    _, png = cv2.imencode('.png', rgb[..., ::-1])
    return STORE.types['sensor_msgs/msg/CompressedImage'](
        header=header(stamp), format='rgb8; png compressed bgr8', data=png.ravel())


def camera_info_message(stamp: int, width: int, height: int, focal_length: float) -> Any:
    k = np.array([focal_length, 0, width / 2, 0, focal_length, height / 2, 0, 0, 1.0])
    p = np.array([focal_length, 0, width / 2, 0, 0, focal_length, height / 2, 0, 0, 0, 1.0, 0])
    return STORE.types['sensor_msgs/msg/CameraInfo'](
        header=header(stamp), height=height, width=width, distortion_model='plumb_bob',
        d=np.zeros(5), k=k, r=np.eye(3).ravel(), p=p, binning_x=0, binning_y=0,
        roi=STORE.types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False))


def write_bag(path: Path, messages: list[tuple[str, int, Any]], storage: str = 'mcap') -> Path:
    """Write (topic, log time in ns, rosbags message) triples in their order."""
    plugin = StoragePlugin.MCAP if storage == 'mcap' else StoragePlugin.SQLITE3
    with Writer(path, version=8, storage_plugin=plugin) as writer:
        connections = {}
        for topic, time, message in messages:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], time, STORE.serialize_cdr(message, kind))
    return path


def write_drive(path: Path, frames: np.ndarray, *, interval: float = 0.1, storage: str = 'mcap',
                compressed: bool = False, focal_length: float | None = None,
                labels: np.ndarray | None = None, depth: np.ndarray | None = None,
                camera: str = '/camera') -> Path:
    """Write frames (n,h,w,3) uint8 RGB as one camera, with what else is given for each frame."""
    messages: list[tuple[str, int, Any]] = []
    for index, frame in enumerate(frames):
        stamp = START + round(index * interval * 1e9)
        height, width = frame.shape[:2]
        if focal_length is not None:
            info = camera_info_message(stamp, width, height, focal_length)
            messages.append((f'{camera}/camera_info', stamp, info))
        if compressed:
            messages.append(
                (f'{camera}/image/compressed', stamp, compressed_message(stamp, frame)))
        else:
            messages.append((f'{camera}/image', stamp, image_message(stamp, frame)))
        if labels is not None:
            messages.append(
                (f'{camera}/label', stamp, image_message(stamp, labels[index], 'mono8')))
        if depth is not None:
            messages.append(
                (f'{camera}/depth', stamp, image_message(stamp, depth[index], '32FC1')))
    return write_bag(path, messages, storage)
