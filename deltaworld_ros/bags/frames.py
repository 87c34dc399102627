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

from deltaworld_ros.bags.maps import decode_depth, decode_labels
from deltaworld_ros.bags.reader import CAMERA_INFO, COMPRESSED, IMAGE, BagReader, stamp_of
from deltaworld_ros.bags.storage import Message, Topic
from deltaworld_ros.bags.topic_names import video_hint
from deltaworld_ros.camera.bit_depth import BitDepth
from deltaworld_ros.camera.image_decoding import decode_image
from deltaworld_ros.camera.intrinsics import Camera, read_camera
from deltaworld_ros.errors import UserError

_LABEL_NAMES = ('label', 'labels')
_DEPTH_NAMES = ('depth',)
# Beginnings of the encodings of depth, disparity and the like.
_MEASURED = ('16U', '16S', '32', '64', 'mono16')
# Images that wait for the ground truth of their stamp before they are given without it.
_PATIENCE = 5


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
    time: int = 0
    others: dict[str, Any] = field(default_factory=dict)


class BagFrames:
    """
    The images of one camera of a bag in recorded order, read lazily; a context manager.

    Topics that are not given are found among those with messages: the one colour image, the
    camera_info beside it, and ground truth on topics whose last name is `label` or `depth`.
    `count` is the number of images; `unreadable` is how many of them could not be decoded. The
    first message that could not be read is in `problem`, damaged parts of the file in `losses`.
    `rectified` is `read_camera`'s.
    """

    def __init__(self, path: str | Path, *, image: str | None = None,
                 camera_info: str | None = None, labels: str | None = None,
                 depth: str | None = None, rectified: str = 'auto') -> None:
        self.path = Path(path)
        self.problem = ''
        self._unreadable: set[tuple[int, int]] = set()   # log times and stamps
        self._rectified = rectified
        self._bit_depth = BitDepth()
        self._reader = BagReader(self.path)
        try:
            self._labels = self._ground_truth(labels, _LABEL_NAMES)
            self._depth = self._ground_truth(depth, _DEPTH_NAMES)
            self._image = self._image_topic(image)
            self._camera_info = self._camera_info_topic(camera_info)
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
        """Return the bag itself, which is open already."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close the bag."""
        self._reader.close()

    @property
    def unreadable(self) -> int:
        """Return the number of images that could not be decoded so far, each counted once."""
        return len(self._unreadable)

    @property
    def note(self) -> str:
        """Return what a user should know of the images' bits, nothing for ordinary ones."""
        return self._bit_depth.note()

    @property
    def losses(self) -> str:
        """Return what of the file could not be read so far and what helps, '' for nothing."""
        return self._reader.losses

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
        used = [one for one in (self._image, self._camera_info, self._labels, self._depth) if one]
        waiting: OrderedDict[int, _Waiting] = OrderedDict()
        for received in self._reader.messages(used):
            role = roles[received.topic.topic]
            message = self._deserialize(received)
            if message is None:
                if role == 'image':
                    self._unreadable.add((received.time, 0))
                continue
            stamp = stamp_of(message)
            entry = waiting.setdefault(stamp, _Waiting())
            if role != 'image':
                entry.others[role] = message
            elif entry.message is not None:  # two images with one stamp
                yield from self._frame(stamp, waiting.pop(stamp))
                waiting[stamp] = _Waiting(message, received.time)
            else:
                entry.message, entry.time = message, received.time
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
            image = decode_image(entry.message, bit_depth=self._bit_depth)
            frame = Frame(stamp, image.rgb, entry.message.header.frame_id,
                          *self._intrinsics(image.width, image.height))
            if 'labels' in entry.others:
                frame.labels = decode_labels(entry.others['labels'])
            if 'depth' in entry.others:
                frame.depth = decode_depth(entry.others['depth'])
        except UserError as error:
            self._unreadable.add((entry.time, stamp))
            self.problem = self.problem or str(error)
            return
        yield frame

    def _deserialize(self, message: Message) -> Any:
        try:
            return self._reader.deserialize(message.data, message.topic.msgtype)
        except Exception as error:  # damaged data fails in as many ways as there are fields
            reason = ' '.join(str(error).split())[:200] or type(error).__name__
            self.problem = self.problem or f'{message.topic.topic}: damaged message: {reason}'
            return None

    def _first_message(self, topic: Topic) -> Any:
        for message in self._reader.messages([topic]):
            found = self._deserialize(message)
            if found is not None:
                return found
        return None

    def _find(self, topic: str, kinds: tuple[str, ...]) -> Topic:
        for found in self._reader.topics:
            if found.topic == topic and found.msgtype in kinds:
                return found
        wanted = ' or '.join(kind.rpartition('/')[2] for kind in kinds)
        raise UserError(
            f'{self.path}: no topic {topic!r} of type {wanted}; it has {self._listing(kinds)}')

    def _listing(self, kinds: tuple[str, ...]) -> str:
        names = sorted({used.topic for used in self._reader.topics if used.msgtype in kinds})
        return ', '.join(names) or 'none'

    def _with_messages(self, *kinds: str) -> list[Topic]:
        return [one for one in self._reader.topics if one.msgtype in kinds and one.msgcount]

    def _ground_truth(self, topic: str | None, names: tuple[str, ...]) -> Topic | None:
        if topic:
            return self._find(topic, (IMAGE,))
        found = [used for used in self._with_messages(IMAGE)
                 if used.topic.rpartition('/')[2] in names]
        return found[0] if len(found) == 1 else None

    def _image_topic(self, topic: str | None) -> Topic:
        if topic:
            return self._find(topic, (IMAGE, COMPRESSED))
        taken = {used.topic for used in (self._labels, self._depth) if used}
        images = [used for used in self._with_messages(IMAGE, COMPRESSED)
                  if used.topic not in taken]
        encodings = {used: self._encoding(used) for used in images}
        pictures = [used for used, encoding in encodings.items()
                    if not encoding.startswith(_MEASURED)]
        # Cameras of more than 8 bits: what is no picture for sure is one where nothing else is.
        pictures = pictures or [
            used for used, encoding in encodings.items() if encoding == 'mono16']
        colour = {used.topic: used for used in pictures}
        # A raw topic and its compressed twin are the same camera.
        for name in list(colour):
            if name.endswith('/compressed') and name.removesuffix('/compressed') in colour:
                del colour[name]
        if len(colour) == 1:
            return next(iter(colour.values()))
        if not colour:
            lost = f'; {self.losses}' if self.losses else ''
            raise UserError(
                f'{self.path}: no colour images; its topics are {self._every_topic()}'
                f'{video_hint(self._reader.topics)}{lost}')
        raise UserError(
            f'{self.path}: several cameras, choose one with --image: {", ".join(sorted(colour))}')

    def _every_topic(self) -> str:
        return ', '.join(sorted(
            used.topic if used.msgcount else f'{used.topic} (no messages)'
            for used in self._reader.topics)) or 'none'

    def _encoding(self, topic: Topic) -> str:
        """Return the first message's encoding, which tells pictures from measurements."""
        if topic.msgtype == COMPRESSED:
            return '32FC1' if topic.topic.endswith('/compressedDepth') else ''
        message = self._first_message(topic)
        return '' if message is None else str(message.encoding)

    def _camera_info_topic(self, topic: str | None) -> Topic | None:
        if topic:
            return self._find(topic, (CAMERA_INFO,))
        infos = {used.topic: used for used in self._with_messages(CAMERA_INFO)}
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
