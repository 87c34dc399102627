# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Open a bag of any kind, and read of a damaged one what is whole."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePath
from typing import Any

from rosbags.typesys import Stores, get_typestore

from deltaworld_ros.bags import mcap_storage, ros1_storage, sqlite_storage
from deltaworld_ros.bags.decompression import (
    ZSTD_MAGIC,
    DamagedData,
    decompress,
    decompress_file,
)
from deltaworld_ros.bags.storage import Message, Storage, Topic
from deltaworld_ros.bundle.files import read_bytes
from deltaworld_ros.bundle.yaml_file import parse_yaml
from deltaworld_ros.errors import UserError

IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'
_STORAGES: tuple[tuple[bytes, Callable[[Path], Storage]], ...] = (
    (mcap_storage.MAGIC, mcap_storage.McapStorage),
    (sqlite_storage.MAGIC, sqlite_storage.SqliteStorage),
    (ros1_storage.MAGIC, ros1_storage.Ros1Storage),
)
_ENDINGS = ('.mcap', '.db3', '.mcap.zstd', '.db3.zstd')
_KINDS = 'not a readable rosbag2 folder, .mcap, .db3 or .bag file'
# A bag of many small files has some 15 values and 250 bytes a file.
_MAX_METADATA = 16 * 2**20
_MAX_METADATA_VALUES = 1_000_000


class BagReader:
    """
    An open rosbag2 folder, .mcap, .db3 or ROS 1 .bag file.

    `topics` are all of them, by name and type. Messages are deserialised with the definitions
    built into rosbags, which are those of all distributions for the types that are read here: what
    a bag says of its types, right or wrong, does not matter. `losses` says what could not be read.
    """

    def __init__(self, path: Path) -> None:
        """Open a bag; raise `UserError` where nothing of it can be read."""
        self.path = path
        self._folder_notes: list[str] = []
        self._stack = contextlib.ExitStack()
        self._storages: list[Storage] = []
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        self._storages.sort(key=lambda one: one.start)
        self.is2 = not isinstance(self._storages[0], ros1_storage.Ros1Storage)
        self._store = get_typestore(Stores.ROS2_JAZZY if self.is2 else Stores.ROS1_NOETIC)
        counts: dict[tuple[str, str], int] = {}
        for topic in (topic for one in self._storages for topic in one.topics):
            key = topic.topic, topic.msgtype
            counts[key] = counts.get(key, 0) + topic.msgcount
        self.topics = [Topic(*key, count) for key, count in counts.items()]

    @property
    def duration(self) -> float:
        """Return the seconds between the first and the last message."""
        used = [one for one in self._storages if one.end]
        if not used:
            return 0.0
        return (max(one.end for one in used) - min(one.start for one in used)) / 1e9

    @property
    def losses(self) -> str:
        """Return what could not be read so far and what helps, in one line; '' for nothing."""
        folder = [*self._folder_notes, 'try `ros2 bag reindex`'] if self._folder_notes else []
        return '; '.join(filter(None, (
            *folder, *(one.losses.summary() for one in self._storages))))

    def close(self) -> None:
        """Close the bag."""
        self._stack.close()

    def messages(
        self, topics: Collection[Topic], start: int | None = None, stop: int | None = None,
    ) -> Iterator[Message]:
        """Yield messages of topics by log time (ns), from `start` until before `stop`."""
        names = {(one.topic, one.msgtype): one for one in topics}
        for storage in self._storages:
            for message in storage.messages({one.topic for one in topics}, start, stop):
                topic = names.get((message.topic.topic, message.topic.msgtype))
                if topic is None:
                    continue
                data = message.data
                # rosbag2 compresses single messages; none of its own begins so.
                if data.startswith(ZSTD_MAGIC):
                    try:
                        data = decompress(data, 'zstd')
                    except DamagedData as error:
                        storage.losses.add((topic.topic, message.time), error)
                        continue
                yield Message(topic, message.time, data)

    def deserialize(self, data: bytes, kind: str) -> Any:
        """Return the message object; damaged data raises almost anything."""
        return self._store.deserialize_cdr(data, kind) if self.is2 else \
            self._store.deserialize_ros1(data, kind)

    def _open(self) -> None:
        if not self.path.exists():
            raise UserError(f'{self.path}: there is no such bag')
        files = self._files_of_folder() if self.path.is_dir() else [self.path]
        problems = []
        for file in files:
            try:
                storage = self._open_file(file)
            except UserError as error:
                problems.append(str(error))
                continue
            # rosbags, sqlite and the system have errors of their own for a damaged file.
            except Exception as error:
                reason = ' '.join(str(error).split())[:200] or type(error).__name__
                problems.append(f'{file}: {_KINDS}: {reason}')
                continue
            self._storages.append(storage)
            self._stack.callback(storage.close)
        if not self._storages:
            raise UserError(problems[0] if problems else f'{self.path}: {_KINDS}: the folder has '
                            f'neither of {", ".join(_ENDINGS)}')
        self._folder_notes += problems

    def _files_of_folder(self) -> list[Path]:
        """Return the files that metadata.yaml lists, or all that there are without it."""
        found = sorted(file for file in self.path.iterdir() if file.name.endswith(_ENDINGS))
        try:
            content = read_bytes(self.path / 'metadata.yaml', _MAX_METADATA, inside=False)
            described = parse_yaml(
                content.decode('utf-8-sig'), 'metadata.yaml', _MAX_METADATA_VALUES)[
                'rosbag2_bagfile_information']
            names = [PurePath(str(name)).name for name in described['relative_file_paths']]
        # YAML makes of damaged text whatever it can.
        except Exception as error:
            if found:
                reason = error if isinstance(error, (UserError, ValueError)) else \
                    'it does not list the files of a recording'
                self._folder_notes.append(
                    'without a usable metadata.yaml every file of the folder is read '
                    f'({" ".join(str(reason).split())[:200]})')
            return found
        files = []
        for name in names:
            if name and (self.path / name).is_file():
                files.append(self.path / name)
            else:
                self._folder_notes.append(f'{name[:100]} is missing')
        return files or found

    def _open_file(self, file: Path) -> Storage:
        if not file.is_file():
            raise UserError(f'{file}: {_KINDS}')
        with file.open('rb') as opened:
            first = opened.read(16)
        if first.startswith(ZSTD_MAGIC):
            return self._open_packed(file)
        for magic, storage in _STORAGES:
            if first.startswith(magic):
                return storage(file)
        raise UserError(f'{file}: {_KINDS}: it begins as none of them')

    def _open_packed(self, file: Path) -> Storage:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix='deltaworld_bag_'))
        target, disk = Path(folder) / file.stem, os.statvfs(folder)
        free = disk.f_bavail * disk.f_frsize
        problem = decompress_file(file, target, free // 2)
        try:
            storage = self._open_file(target)
        except UserError as error:   # names the copy, which nobody knows
            reason = str(error).replace(str(target), str(file))
            raise UserError('; '.join(filter(None, (reason, problem)))) from None
        if problem:
            self._folder_notes.append(problem)
        return storage


def stamp_of(message: Any) -> int:
    """Return the header stamp of a ROS 1 or ROS 2 message in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
