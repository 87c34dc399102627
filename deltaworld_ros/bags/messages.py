# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The images and camera_info of a bag as ROS 2 messages, serialised and ready to publish."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from rosbags.typesys import Stores, get_typestore

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bags.reader import CAMERA_INFO, COMPRESSED, IMAGE, BagReader, stamp_of
from deltaworld_ros.bags.storage import Topic
from deltaworld_ros.bags.topic_names import video_hint
from deltaworld_ros.errors import UserError

MIN_RATE, MAX_RATE = 0.001, 1000.0
_TYPES = (IMAGE, COMPRESSED, CAMERA_INFO)


def check_rate(rate: float) -> None:
    """Raise `UserError` for a speed that no recording can be replayed at; 1 is real time."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise UserError(f'rate {rate:g}: must be a number from {MIN_RATE:g} to {MAX_RATE:g}; 1 is '
                        'real time')


class BagMessage(NamedTuple):
    """A message: bag topic, type name, recording time in ns and CDR bytes."""

    topic: str
    kind: str
    time: int
    data: bytes


class CameraMessages:
    """
    The camera messages of a bag in recorded order, read lazily; a context manager.

    All cameras, or with `image` that topic and the camera_info beside it. `count` is the number
    of messages, `topics` maps each topic to its type.
    """

    def __init__(self, path: str | Path, image: str | None = None) -> None:
        path = Path(path)
        chosen = None
        if image:
            with BagFrames(path, image=image) as bag:
                chosen = {bag.topics['image'], bag.topics['camera_info']}
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._reader = BagReader(path)
        self.damaged = 0
        self._used: list[Topic] = [
            used for used in self._reader.topics if used.msgtype in _TYPES and used.msgcount
            and (chosen is None or used.topic in chosen)]
        self.topics = {used.topic: used.msgtype for used in self._used}
        self.count = sum(used.msgcount for used in self._used)
        if not self.count:
            lost = f'; {self._reader.losses}' if self._reader.losses else ''
            hint = video_hint(self._reader.topics)
            self._reader.close()
            raise UserError(f'{path}: no images and no camera_info to replay{hint}{lost}')

    @property
    def note(self) -> str:
        """Return in one line that there are no images, or '' where there are some."""
        if set(self.topics.values()) - {CAMERA_INFO}:
            return ''
        return f'there are no images, only camera_info{video_hint(self._reader.topics)}'

    @property
    def losses(self) -> str:
        """Return what could not be read so far and what helps, in one line; '' for nothing."""
        damaged = f'{self.damaged} damaged messages were left out' if self.damaged else ''
        return '; '.join(filter(None, (self._reader.losses, damaged)))

    def __enter__(self) -> CameraMessages:
        """Return the bag itself, which is open already."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close the bag."""
        self._reader.close()

    def __iter__(self) -> Iterator[BagMessage]:
        """Yield every message; those of ROS 1 bags are converted."""
        self.damaged = 0
        for topic, time, data in self._reader.messages(self._used):
            try:
                if not self._reader.is2:
                    data = self._to_ros2(
                        self._reader.deserialize(data, topic.msgtype), topic.msgtype)
                read_stamp(data)
            except Exception:  # damaged data fails in as many ways as there are fields
                self.damaged += 1
                continue
            yield BagMessage(topic.topic, topic.msgtype, time, bytes(data))

    def _to_ros2(self, message: Any, kind: str) -> bytes:
        types = self._store.types
        values = {}
        for field in dataclasses.fields(types[kind]):
            if field.name == 'header':
                values['header'] = types['std_msgs/msg/Header'](
                    stamp=types['builtin_interfaces/msg/Time'](
                        *ros_time(stamp_of(message))),
                    frame_id=message.header.frame_id)
            elif field.name != '__msgtype__':
                # ROS 1 writes D, K, R and P of camera_info as capitals.
                name = field.name if hasattr(message, field.name) else field.name.upper()
                values[field.name] = getattr(message, name)
        return bytes(self._store.serialize_cdr(types[kind](**values), kind))


def ros_time(stamp: int) -> tuple[int, int]:
    """
    Return seconds and nanoseconds of a stamp (ns) as ROS 2 has them.

    Its seconds are 32 bits with a sign: after January 2038 they count on from December 1901.
    """
    seconds, nanoseconds = divmod(stamp, 1_000_000_000)
    return (seconds + 2**31) % 2**32 - 2**31, nanoseconds


def read_stamp(data: bytes) -> int:
    """Return the stamp in ns of a serialised message that begins with a header."""
    seconds, nanoseconds = struct.unpack_from(_stamp_format(data), data, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def with_stamp(data: bytes, stamp: int) -> bytes:
    """Return the serialised message with another stamp (ns) in its header."""
    changed = bytearray(data)
    struct.pack_into(_stamp_format(data), changed, 4, *ros_time(stamp))
    return bytes(changed)


def _stamp_format(data: bytes) -> str:
    # The second byte of a CDR message tells its byte order; the header's stamp follows the four.
    return '<iI' if data[1] & 1 else '>iI'
