# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags of raw images whose stamps tell their numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from deltaworld_ros.bags.frames import BagFrames
from support.bags import START, STORE, image_message

FRAMES = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3)).astype(np.uint8)
STEP = 100_000_000


def write(path: Path, storage: str = 'mcap', compression: CompressionMode | None = None,
          frames: int = 30, store: Any = STORE, extra: tuple[Any, ...] = (),
          **options: Any) -> Path:
    """Write a drive of raw images, and `extra` (topic, message) pairs beside the first one."""
    plugin = StoragePlugin.MCAP if storage == 'mcap' else StoragePlugin.SQLITE3
    writer = Writer(path, version=9, storage_plugin=plugin)
    if compression:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    messages = [('/camera/image', START + n * STEP, image_message(START + n * STEP, FRAMES[n]))
                for n in range(frames)]
    messages += [(topic, START, message) for topic, message in extra]
    connections: dict[str, Any] = {}
    with writer:
        for topic, time, message in sorted(messages, key=lambda one: one[1]):
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store, **options)
            writer.write(connections[topic], time, store.serialize_cdr(message, kind))
    return path


def file_of(path: Path) -> Path:
    """Return the one file of messages in a bag's folder."""
    return next(file for file in path.iterdir() if file.suffix in ('.mcap', '.db3'))


def numbers(path: Path, **options: Any) -> tuple[list[int], str]:
    """Return which frames of the drive come out, and what is said to be lost."""
    with BagFrames(path, **options) as bag:
        found = [(frame.stamp - START) // STEP for frame in bag]
        again = sum(1 for _ in bag)
        assert again == len(found)
        return found, bag.losses


def change_metadata(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    file = path / 'metadata.yaml'
    content = yaml.safe_load(file.read_text(encoding='utf-8'))
    change(content['rosbag2_bagfile_information'])
    file.write_text(yaml.safe_dump(content), encoding='utf-8')
    return path
