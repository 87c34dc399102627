# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Write clips of the street world, with their ground truth, as a bag."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.progress import track
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from deltaworld_ros.errors import UserError
from deltaworld_training.data.photometric import apply_look, sample_look
from deltaworld_training.street.clip import render_clip
from deltaworld_training.street.renderer import Renderer

FRAME_ID = 'camera'
FIRST_STAMP = 1_000.0
# Between clips, longer than any context: the forecaster starts again at each clip.
PAUSE = 10.0
JPEG_QUALITY = 92
TOPICS = {
    '/camera/image/compressed': 'sensor_msgs/msg/CompressedImage',
    '/camera/camera_info': 'sensor_msgs/msg/CameraInfo',
    '/camera/label': 'sensor_msgs/msg/Image',
    '/camera/depth': 'sensor_msgs/msg/Image',
}


def write_world_bag(
    path: Path, seeds: Iterable[int], seconds: float, rate: float, size: tuple[int, int],
) -> int:
    """
    Render one clip a seed at `rate` Hz into an mcap bag and return the number of frames.

    The label topic holds class ids (mono8), the depth topic metres along the optical axis
    (32FC1, NaN in the sky), both for exactly the image of the same stamp.
    """
    if path.exists():
        raise UserError(f'--bag {path}: exists already; give a new path')
    store = get_typestore(Stores.ROS2_JAZZY)
    renderer = Renderer(*size)
    times = np.arange(round(seconds * rate)) / rate
    frames, start = 0, FIRST_STAMP
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {
            topic: writer.add_connection(topic, kind, typestore=store)
            for topic, kind in TOPICS.items()
        }
        for seed in track(list(seeds), description='Rendering'):
            generator = np.random.default_rng((seed, 2))
            look = sample_look(generator)
            for time, frame in zip(
                    times, render_clip(seed, times.tolist(), *size, renderer), strict=True):
                stamp = round((start + time) * 1e9)
                rgb = apply_look(frame.rgb, look, generator)
                messages = _messages(store.types, stamp, rgb, frame)
                for topic, message in messages.items():
                    writer.write(connections[topic], stamp, store.serialize_cdr(
                        message, TOPICS[topic]))
                frames += 1
            start += seconds + PAUSE
    return frames


def _messages(types: dict[str, Any], stamp: int, rgb: np.ndarray, frame: Any) -> dict[str, Any]:
    time = types['builtin_interfaces/msg/Time'](*divmod(stamp, 10 ** 9))
    header = types['std_msgs/msg/Header'](stamp=time, frame_id=FRAME_ID)
    height, width = rgb.shape[:2]
    _, jpeg = cv2.imencode(
        '.jpg', rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    depth = np.where(np.isfinite(frame.depth), frame.depth, np.nan).astype(np.float32)
    intrinsics = frame.intrinsics.astype(np.float64)
    projection = np.hstack([intrinsics, np.zeros((3, 1))])
    region = types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)

    def image(encoding: str, array: np.ndarray) -> Any:
        data = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
        return types['sensor_msgs/msg/Image'](
            header, height, width, encoding, 0, data.size // height, data)
    return {
        '/camera/image/compressed': types['sensor_msgs/msg/CompressedImage'](
            header, 'jpeg', jpeg.reshape(-1)),
        '/camera/camera_info': types['sensor_msgs/msg/CameraInfo'](
            header, height, width, 'plumb_bob', np.zeros(5), intrinsics.reshape(-1),
            np.eye(3).reshape(-1), projection.reshape(-1), 0, 0, region),
        '/camera/label': image('mono8', frame.labels),
        '/camera/depth': image('32FC1', depth),
    }
