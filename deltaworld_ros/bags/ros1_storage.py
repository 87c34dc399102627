# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Read ROS 1 bags by their index, and of damaged ones every message that is whole."""

from __future__ import annotations

import bisect
import heapq
import itertools
import os
from collections import Counter
from collections.abc import Collection, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from rosbags.rosbag1 import Reader
from rosbags.rosbag1.reader import Header, RecordType, read_bytes, read_uint32

from deltaworld_ros.bags.decompression import DamagedData, decompress, kind_of
from deltaworld_ros.bags.storage import Losses, Message, Topic
from deltaworld_ros.errors import UserError

MAGIC = b'#ROSBAG V'


class Ros1Storage:
    """An open ROS 1 bag."""

    def __init__(self, path: Path) -> None:
        self.losses = Losses(f'try `rosbag fix` or `rosbag reindex {path.name}`')
        self._reader = Reader(path)
        try:
            self._reader.open()
        # A damaged file makes the reader raise almost anything.
        except Exception as error:
            reason = ' '.join(str(error).split())[:200] or type(error).__name__
            raise UserError(f'{path}: not a readable ROS 1 bag: {reason}; try '
                            f'`rosbag reindex {path.name}`') from None
        merged: Counter[tuple[str, str]] = Counter()
        for used in self._reader.connections:
            merged[used.topic, used.msgtype] += used.msgcount
        self.topics = [Topic(*key, count) for key, count in merged.items()]
        has_messages = bool(merged.total())
        self.start = self._reader.start_time if has_messages else 0
        self.end = self._reader.end_time if has_messages else 0
        self._chunk: tuple[int, bytes] = -1, b''

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def messages(
        self, topics: Collection[str], start: int | None, stop: int | None,
    ) -> Iterator[Message]:
        """Yield the messages of these topics, log times from `start` until before `stop`."""
        known = {(topic.topic, topic.msgtype): topic for topic in self.topics}
        used = {one.id: known[one.topic, one.msgtype] for one in self._reader.connections
                if one.topic in topics}
        # The reader's own loop ends for good at the first damaged message.
        indexes = [self._entries(number, start, stop) for number in used]
        for time, position, offset, number in heapq.merge(*indexes):
            try:
                yield Message(used[number], time, self._read(position, offset))
            except Exception as error:
                self.losses.add((position, offset), f'at byte {position}: {error}')

    def _entries(self, number: int, start: int | None, stop: int | None,
                 ) -> Iterator[tuple[int, int, int, int]]:
        """Yield log time, chunk, place in it and connection of a connection's messages."""
        index = self._reader.indexes[number]
        first = 0 if start is None else bisect.bisect_left(index, start, key=_time_of)
        for entry in itertools.islice(index, first, None):
            if stop is not None and entry.time >= stop:
                return
            yield entry.time, entry.chunk_pos, entry.offset, number

    def _read(self, position: int, offset: int) -> bytes:
        chunk = BytesIO(self._unpacked(position))
        chunk.seek(offset)
        while True:
            header = Header.read(chunk)
            code = header.get_uint8('op')
            if code != RecordType.CONNECTION:
                break
            chunk.seek(read_uint32(chunk), os.SEEK_CUR)
        if code != RecordType.MSGDATA:
            raise DamagedData('no message where the index says')
        return read_bytes(chunk, read_uint32(chunk))

    def _unpacked(self, position: int) -> bytes:
        if self._chunk[0] != position:
            found = self._reader.chunks[position]
            file = self._reader.bio
            assert file is not None
            file.seek(found.datapos)
            data = read_bytes(file, found.datasize)
            self._chunk = position, decompress(data, kind_of(data))
        return self._chunk[1]


def _time_of(entry: Any) -> int:
    return int(entry.time)
