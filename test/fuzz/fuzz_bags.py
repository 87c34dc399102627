# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Damaged bags of every storage, read as `evaluate`, `replay` and training read them."""

from __future__ import annotations

import random
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag1 import Writer as Rosbag1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from support.bags import START, STORE, camera_info_message, compressed_message, image_message
from support.fuzzing import main, mutate

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bags.messages import CameraMessages
from deltaworld_ros.bags.odometry import read_odometry
from deltaworld_training.data.sources.bags import BagRecording

# A bag as its files: names and contents.
Files = dict[str, bytes]


def evaluated_bag(chance: random.Random) -> None:
    """Read every frame of a damaged bag."""
    with tempfile.TemporaryDirectory() as folder, BagFrames(_damaged(folder, chance)) as bag:
        for frame in bag:
            assert frame.image.ndim == 3
        assert '\n' not in bag.losses + bag.problem
        read_odometry(bag.path)


def replayed_bag(chance: random.Random) -> None:
    """Read every message of a damaged bag."""
    with tempfile.TemporaryDirectory() as folder, \
            CameraMessages(_damaged(folder, chance)) as messages:
        for message in messages:
            assert message.data
        assert '\n' not in messages.losses


def trained_bag(chance: random.Random) -> None:
    """Read images of a damaged bag at random."""
    with tempfile.TemporaryDirectory() as folder:
        recording = BagRecording(_damaged(folder, chance))
        count = len(recording.times())
        recording.read([chance.randrange(count)])


def _damaged(folder: str, chance: random.Random) -> Path:
    files = dict(chance.choice(_bags()))
    # Mostly the file with the messages, which is the first.
    damaged = next(iter(files)) if chance.random() < 0.85 else chance.choice(list(files))
    files[damaged] = mutate(files[damaged], chance)
    for name, content in files.items():
        (Path(folder) / name).write_bytes(content)
    # Of a folder, or the file alone.
    alone = len(files) == 1 or chance.random() < 0.3
    return Path(folder) / next(iter(files)) if alone else Path(folder)


@cache
def _bags() -> tuple[Files, ...]:
    with tempfile.TemporaryDirectory() as folder:
        made = [
            _write(Path(folder) / 'mcap', StoragePlugin.MCAP, None),
            _write(Path(folder) / 'packed', StoragePlugin.MCAP, CompressionMode.STORAGE),
            _write(Path(folder) / 'sqlite', StoragePlugin.SQLITE3, None),
            _write(Path(folder) / 'messages', StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
            _write(Path(folder) / 'file', StoragePlugin.SQLITE3, CompressionMode.FILE),
            _write_ros1(Path(folder) / 'plain.bag', None),
            _write_ros1(Path(folder) / 'lz4.bag', Rosbag1Writer.CompressionFormat.LZ4)]
    return tuple(made)


def _messages() -> list[tuple[str, int, Any]]:
    images = np.random.default_rng(0).integers(0, 256, (8, 12, 16, 3)).astype(np.uint8)
    found = []
    for number, image in enumerate(images):
        stamp = START + number * 100_000_000
        found += [('/camera/camera_info', stamp, camera_info_message(stamp, 16, 12, 14.0)),
                  ('/camera/image', stamp, image_message(stamp, image)),
                  ('/camera/image/compressed', stamp, compressed_message(stamp, image)),
                  ('/camera/label', stamp, image_message(stamp, image[..., 0], 'mono8'))]
    return found


def _write(path: Path, storage: StoragePlugin, compression: CompressionMode | None) -> Files:
    writer = Writer(path, version=9, storage_plugin=storage)
    if compression:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    connections: dict[str, Any] = {}
    with writer:
        for topic, stamp, message in _messages():
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], stamp, STORE.serialize_cdr(message, kind))
    files = sorted(path.iterdir(), key=lambda file: file.name == 'metadata.yaml')
    return {file.name: file.read_bytes() for file in files}


def _write_ros1(path: Path, compression: Any) -> Files:
    store = get_typestore(Stores.ROS1_NOETIC)
    writer = Rosbag1Writer(path)
    if compression:
        writer.set_compression(compression)
    with writer:
        used = writer.add_connection('/camera/image', 'sensor_msgs/msg/Image', typestore=store)
        for number in range(8):
            stamp = START + number * 100_000_000
            header = store.types['std_msgs/msg/Header'](
                seq=number, frame_id='cam', stamp=store.types['builtin_interfaces/msg/Time'](
                    *divmod(stamp, 10**9)))
            message = store.types['sensor_msgs/msg/Image'](
                header, 12, 16, 'rgb8', 0, 48, np.full(576, number, np.uint8))
            writer.write(used, stamp, store.serialize_ros1(message, 'sensor_msgs/msg/Image'))
    return {path.name: path.read_bytes()}


CASES = {'bags for evaluate': (evaluated_bag, 300), 'bags for replay': (replayed_bag, 300),
         'bags for training': (trained_bag, 300)}

if __name__ == '__main__':
    sys.exit(main(CASES, megabytes=2500))
