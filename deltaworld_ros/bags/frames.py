# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stream a recorded camera, with its ground truth where there is any, from a bag of any kind."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from deltaworld_ros.bags.maps import decode_depth, decode_labels
from deltaworld_ros.camera.image_decoding import decode_image
from deltaworld_ros.camera.intrinsics import Camera, read_camera
from deltaworld_ros.errors import UserError

IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'
_LABEL_NAMES = ('label', 'labels')
_DEPTH_NAMES = ('depth',)
# Images that wait for the ground truth of their stamp before they are given without it.
_PATIENCE = 5
# Of a bag's own message definitions only these are needed; older bags carry none.
_DEFAULT_TYPES = Stores.ROS2_JAZZY


@dataclass
class Frame:
    """
    One image of a bag: RGB (h,w,3) uint8 and its header stamp in ns.

    `intrinsics` is the 3x3 camera matrix of this image, None where it is not known for the reason
    in `camera_problem`; `labels` and `depth` are None without ground truth.
    """

    stamp: int
    image: np.ndarray
    frame_id: str
    intrinsics: np.ndarray | None = None
    camera_problem: str = ''
    labels: np.ndarray | None = None
    depth: np.ndarray | None = None


@dataclass
class _Waiting:
    message: Any = None
    others: dict[str, Any] = field(default_factory=dict)


def open_reader(path: Path) -> AnyReader:
    """Open a rosbag2 folder, .mcap, .db3 or ROS 1 .bag file; the caller closes the reader."""
    if not path.exists():
        raise UserError(f'{path}: there is no such bag')
    try:
        reader = AnyReader([path], default_typestore=get_typestore(_DEFAULT_TYPES))
        reader.open()
    # A damaged file makes the storage readers raise almost anything.
    except Exception as error:
        reason = ' '.join(str(error).split())[:200]
        raise UserError(
            f'{path}: not a readable rosbag2 folder, .mcap, .db3 or .bag file: {reason}'
        ) from None
    return reader


class BagFrames:
    """
    The images of one camera of a bag in recorded order, read lazily; a context manager.

    Topics that are not given are found: the one colour image, the camera_info beside it, and
    ground truth on topics whose last name is `label` or `depth`. `count` is the number of images;
    `unreadable` counts images that could not be decoded, the first reason is in `problem`.
    `rectified` is `read_camera`'s.
    """

    def __init__(self, path: str | Path, *, image: str | None = None,
                 camera_info: str | None = None, labels: str | None = None,
                 depth: str | None = None, rectified: str = 'auto') -> None:
        self.path = Path(path)
        self.unreadable = 0
        self.problem = ''
        self._rectified = rectified
        self._reader = open_reader(self.path)
        try:
            self._labels = self._ground_truth(labels, _LABEL_NAMES)
            self._depth = self._ground_truth(depth, _DEPTH_NAMES)
            self._image = self._image_connection(image)
            self._camera_info = self._camera_info_connection(camera_info)
            self.count = self._image.msgcount
            if not self.count:
                raise UserError(f'{self.path}: topic {self._image.topic} has no messages')
            self._camera: Camera | None = None
            self._camera_problem = 'no camera_info'
            if self._camera_info:
                self._take_camera(self._first_message(self._camera_info))
        except BaseException:
            self._reader.close()
            raise

    def __enter__(self) -> BagFrames:
        """Give the bag itself, which is open already."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close the bag."""
        self._reader.close()

    @property
    def topics(self) -> dict[str, str | None]:
        """Return the topics in use by role."""
        roles = {'image': self._image, 'camera_info': self._camera_info, 'labels': self._labels,
                 'depth': self._depth}
        return {role: used.topic if used else None for role, used in roles.items()}

    def __iter__(self) -> Iterator[Frame]:
        """
        Yield every readable image.

        Ground truth and camera_info are matched by equal header stamps; without one of its own,
        an image has the camera_info before it.
        """
        roles = {topic: role for role, topic in self.topics.items() if topic}
        connections = [used for used in self._reader.connections if used.topic in roles]
        waiting: OrderedDict[int, _Waiting] = OrderedDict()
        for connection, _, data in self._reader.messages(connections):
            message = self._deserialize(connection, data)
            if message is None:
                continue
            stamp = stamp_of(message)
            role = roles[connection.topic]
            entry = waiting.setdefault(stamp, _Waiting())
            if role != 'image':
                entry.others[role] = message
            elif entry.message is not None:  # two images with one stamp
                yield from self._frame(stamp, waiting.pop(stamp))
                waiting[stamp] = _Waiting(message)
            else:
                entry.message = message
            while waiting and self._complete(waiting, len(roles) - 1):
                yield from self._frame(*waiting.popitem(last=False))
        for stamp, entry in waiting.items():
            yield from self._frame(stamp, entry)

    @staticmethod
    def _complete(waiting: OrderedDict[int, _Waiting], others: int) -> bool:
        oldest = next(iter(waiting.values()))
        late = sum(entry.message is not None for entry in waiting.values()) > _PATIENCE
        return late or (oldest.message is not None and len(oldest.others) == others)

    def _frame(self, stamp: int, entry: _Waiting) -> Iterator[Frame]:
        """Decode what arrived for one stamp; nothing where its image is missing or unreadable."""
        if 'camera_info' in entry.others:
            self._take_camera(entry.others['camera_info'])
        if entry.message is None:
            return
        try:
            image = decode_image(entry.message)
            frame = Frame(stamp, image.rgb, entry.message.header.frame_id,
                          *self._intrinsics(image.width, image.height))
            if 'labels' in entry.others:
                frame.labels = decode_labels(entry.others['labels'])
            if 'depth' in entry.others:
                frame.depth = decode_depth(entry.others['depth'])
        except UserError as error:
            self._count_unreadable(str(error))
            return
        yield frame

    def _count_unreadable(self, reason: str) -> None:
        self.unreadable += 1
        self.problem = self.problem or reason

    def _deserialize(self, connection: Connection, data: bytes) -> Any:
        try:
            return self._reader.deserialize(data, connection.msgtype)
        except Exception as error:  # damaged data fails in as many ways as there are fields
            self._count_unreadable(f'{connection.topic}: damaged message: {error}')
            return None

    def _first_message(self, connection: Connection) -> Any:
        for _, _, data in self._reader.messages([connection]):
            message = self._deserialize(connection, data)
            if message is not None:
                return message
        return None

    def _find(self, topic: str, kinds: tuple[str, ...]) -> Connection:
        for connection in self._reader.connections:
            if connection.topic == topic and connection.msgtype in kinds:
                return connection
        wanted = ' or '.join(kind.rpartition('/')[2] for kind in kinds)
        raise UserError(
            f'{self.path}: no topic {topic!r} of type {wanted}; it has {self._listing(kinds)}')

    def _listing(self, kinds: tuple[str, ...]) -> str:
        names = sorted({used.topic for used in self._reader.connections if used.msgtype in kinds})
        return ', '.join(names) or 'none'

    def _ground_truth(self, topic: str | None, names: tuple[str, ...]) -> Connection | None:
        if topic:
            return self._find(topic, (IMAGE,))
        found = [used for used in self._reader.connections
                 if used.msgtype == IMAGE and used.topic.rpartition('/')[2] in names]
        return found[0] if len(found) == 1 else None

    def _image_connection(self, topic: str | None) -> Connection:
        if topic:
            return self._find(topic, (IMAGE, COMPRESSED))
        taken = {used.topic for used in (self._labels, self._depth) if used}
        images = {used.topic: used for used in self._reader.connections
                  if used.msgtype in (IMAGE, COMPRESSED) and used.topic not in taken}
        colour = {name: used for name, used in images.items() if self._is_colour(used)}
        # A raw topic and its compressed twin are the same camera.
        for name in list(colour):
            if name.endswith('/compressed') and name.removesuffix('/compressed') in colour:
                del colour[name]
        if len(colour) == 1:
            return next(iter(colour.values()))
        if not colour:
            raise UserError(f'{self.path}: no colour images; its topics are '
                            f'{", ".join(sorted(self._reader.topics)) or "none"}')
        raise UserError(
            f'{self.path}: several cameras, choose one with --image: {", ".join(sorted(colour))}')

    def _is_colour(self, connection: Connection) -> bool:
        """Tell pictures from depth and other measurements by the first message's encoding."""
        if connection.topic.endswith('/compressedDepth'):
            return False
        message = self._first_message(connection)
        if message is None or connection.msgtype == COMPRESSED:
            return True
        return not message.encoding.startswith(('16U', '16S', '32', '64', 'mono16'))

    def _camera_info_connection(self, topic: str | None) -> Connection | None:
        if topic:
            return self._find(topic, (CAMERA_INFO,))
        infos = {used.topic: used for used in self._reader.connections
                 if used.msgtype == CAMERA_INFO}
        base = self._image.topic.removesuffix('/compressed').rpartition('/')[0]
        beside = infos.get(f'{base}/camera_info')
        if beside or len(infos) != 1:
            return beside
        return next(iter(infos.values()))

    def _take_camera(self, message: Any) -> None:
        """Remember a camera_info; one that is not calibrated makes the camera unknown."""
        self._camera = None
        if message is None:
            return
        try:
            self._camera = read_camera(message, self._image.topic, self._rectified)
        except UserError as error:
            self._camera_problem = str(error)

    def _intrinsics(self, width: int, height: int) -> tuple[np.ndarray | None, str]:
        """Return the camera matrix of an image of this size, or None and why not."""
        if self._camera is None:
            return None, self._camera_problem
        problem = self._camera.size_problem(width, height)
        return (None, problem) if problem else (self._camera.pinhole, '')


def stamp_of(message: Any) -> int:
    """Return the header stamp of a ROS 1 or ROS 2 message in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
