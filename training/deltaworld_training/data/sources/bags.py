# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One camera of a rosbag, read message by message at random: mcap, sqlite3 or ROS 1."""

import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bags.maps import decode_depth, decode_labels
from deltaworld_ros.bags.reader import BagReader, stamp_of
from deltaworld_ros.camera.bit_depth import BitDepth
from deltaworld_ros.camera.choices import RECTIFIED
from deltaworld_ros.camera.image_decoding import decode_image, see_bits
from deltaworld_ros.camera.intrinsics import focal_length
from deltaworld_ros.camera.map_resize import enlarge_map
from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast.frame_gate import FrameGate, Restart
from deltaworld_training.data.clip import Clip
from deltaworld_training.data.problems import BrokenFile
from deltaworld_training.data.recordings import UNLABELLED

_LOG = logging.getLogger('deltaworld_training.data')
_OPEN_BAGS = 8
# Seconds between two images; the node's default.
_MAX_GAP = 1.0
_DAY_NS = 86_400 * 10**9
_BAG_SUFFIXES = ('.mcap', '.db3', '.bag')
_readers: OrderedDict[tuple[int, Path], BagReader] = OrderedDict()


@dataclass(frozen=True)
class _Index:
    """Where the frames are: times (F,) s, stamps (F,) ns, and log times (ns) by stamp and role."""

    topics: dict[str, str]
    times: np.ndarray
    stamps: np.ndarray
    logs: dict[str, dict[int, int]]
    focal_length: float | None   # pixels of the images as published
    bits: int                    # of the 16 bits of a channel, 0 for images of 8


class BagRecording:
    """
    The images of one camera with their header stamps, seconds since the first.

    Topics that are not given are found as `deltaworld evaluate` finds them. Ground truth belongs
    to the image of the same stamp. With `start` and `end` only the images of that range of
    seconds are part of the recording. `rectified` (auto, true, false) tells whether P of
    camera_info describes the images.
    """

    def __init__(
        self, path: Path, image: str | None = None, labels: str | None = None,
        depth: str | None = None, start: float = 0.0, end: float | None = None,
        rectified: str = 'auto',
    ):
        """Take the bag, its topics, and the range of seconds."""
        self.path = path
        self.topics = {'image': image, 'labels': labels, 'depth': depth}
        self.start = start
        self.end = end
        self.rectified = rectified
        self._index: _Index | None = None

    @property
    def name(self) -> str:
        """Return the bag."""
        return str(self.path)

    def times(self) -> np.ndarray:
        """Return the time of every image (F,) s; the first call reads the bag's stamps once."""
        return self._indexed().times

    def read(self, indices: Sequence[int]) -> Clip:
        """Decode these images (F, h, w, 3) with labels, depth (m) and focal length."""
        index = self._indexed()
        stamps = [int(index.stamps[number]) for number in indices]
        frames: list[np.ndarray] = []
        for stamp in stamps:
            frame = self._message(index, 'image', stamp, lambda message: decode_image(
                message, bit_depth=BitDepth(index.bits)).rgb)
            if frames and frame.shape != frames[0].shape:
                raise BrokenFile(self.path, f'the size of the images changes at stamp {stamp} ns')
            frames.append(frame)
        size = frames[0].shape[:2]
        return Clip(
            np.stack(frames), index.times[list(indices)],
            self._maps(index, 'labels', stamps, np.full(size, UNLABELLED, np.uint8)),
            self._maps(index, 'depth', stamps, np.full(size, np.nan, np.float32)),
            index.focal_length)

    def _maps(
        self, index: _Index, role: str, stamps: list[int], unknown: np.ndarray,
    ) -> np.ndarray | None:
        """Return the ground truth (F, h, w) of every stamp; None where the bag has no such."""
        if role not in index.topics:
            return None
        decode = decode_labels if role == 'labels' else decode_depth
        height, width = unknown.shape
        return np.stack([
            enlarge_map(self._message(index, role, stamp, decode), (width, height))
            if stamp in index.logs[role] else unknown for stamp in stamps])

    def _message(
        self, index: _Index, role: str, stamp: int, decode: Callable[[Any], np.ndarray],
    ) -> np.ndarray:
        """Decode the message of a role that carries this stamp."""
        reader = _reader(self.path)
        topic, log = index.topics[role], index.logs[role][stamp]
        topics = [used for used in reader.topics if used.topic == topic]
        try:
            for used, _, data in reader.messages(topics, log, log + 1):
                message = reader.deserialize(data, used.msgtype)
                if stamp_of(message) == stamp:
                    return decode(message)
            raise UserError('the message is gone')
        except Exception as error:
            raise BrokenFile(self.path, f'{topic} at stamp {stamp} ns: {error}') from None

    def _indexed(self) -> _Index:
        if self._index is None:
            self._index = self._read_index()
        return self._index

    def _read_index(self) -> _Index:
        try:
            with BagFrames(self.path, rectified=self.rectified, **self.topics) as bag:
                topics = {role: topic for role, topic in bag.topics.items() if topic}
                first = next(iter(bag), None)
        except UserError as error:
            raise BrokenFile(self.path, error) from None
        if first is None:
            raise BrokenFile(self.path, f'no image of {topics["image"]} is readable')
        topics.pop('camera_info', None)
        logs, bits = self._read_stamps(topics)
        stamps = np.array(list(logs['image']), np.int64)
        times = (stamps - stamps[0]) * 1e-9
        kept = (times >= self.start) & (times < (np.inf if self.end is None else self.end))
        if not kept.any():
            raise BrokenFile(self.path, f'no images from {self.start} to {self.end} s; it has '
                                        f'{times[-1]:.1f} s')
        if first.intrinsics is None and 'depth' in topics:
            _LOG.warning('%s: its depth is not learnt: %s', self.path, first.camera_problem)
        return _Index(topics, times[kept], stamps[kept], logs, None if first.intrinsics is None
                      else focal_length(first.intrinsics), bits)

    def _read_stamps(self, topics: dict[str, str]) -> tuple[dict[str, dict[int, int]], int]:
        """Read every message once; return its two times by role, and the bits of the images."""
        roles = {topic: role for role, topic in topics.items()}
        logs: dict[str, dict[int, int]] = {role: {} for role in topics}
        takes, bit_depth = _Takes(), BitDepth()
        reader = _reader(self.path)
        damaged = 0
        for topic, log, data in reader.messages(
                [used for used in reader.topics if used.topic in roles]):
            try:
                message = reader.deserialize(data, topic.msgtype)
                stamp, role = stamp_of(message), roles[topic.topic]
                if role == 'image':
                    takes.add(stamp, log, _source_of(message))
                    see_bits(message, bit_depth)
                else:
                    logs[role].setdefault(stamp, log)
            # Damaged data fails in as many ways as there are fields.
            except Exception:
                damaged += 1
        logs['image'] = takes.longest()
        for problem in (reader.losses, takes.left_out(), bit_depth.note(),
                        f'{damaged} damaged messages were left out' if damaged else ''):
            if problem:
                _LOG.warning('%s: %s', self.path, problem)
        return logs, bit_depth.bits


class _Takes:
    """
    The images of a bag that follow each other, as the running forecaster would take them.

    A take is a list of contexts of stamps (ns) and log times; only a gap begins a context within
    it, everything else that restarts the forecaster begins another take.
    """

    def __init__(self) -> None:
        self._gate = FrameGate(_MAX_GAP)
        self._takes: list[list[list[tuple[int, int]]]] = [[[]]]
        self._odd = 0

    def add(self, stamp: int, log: int, source: tuple[Any, ...]) -> None:
        """Take or leave the next image."""
        verdict = self._gate.check(stamp, source)
        if verdict.odd:
            self._odd += 1
            return
        take = self._takes[-1]
        if verdict.resumed:     # the image before was misdated
            self._odd += len(take.pop()) if verdict.undone else 1
            if not verdict.undone:
                take[-1].pop()
        elif verdict.restart is Restart.GAP:
            # Drivers stamp their first image with 0 before they know the time.
            if len(take) == 1 and len(take[0]) == 1 and stamp - take[0][0][0] > _DAY_NS:
                self._odd += len(take.pop())
            take.append([])
        elif verdict.restart:
            self._takes.append([[]])
        self._takes[-1][-1].append((stamp, log))

    def longest(self) -> dict[int, int]:
        """Return the log times of the longest take by stamp."""
        takes = [[image for context in take for image in context] for take in self._takes]
        longest: list[tuple[int, int]] = max(takes, key=len)
        return dict(longest)

    def left_out(self) -> str:
        """Return in one line what is not part of the recording, or nothing."""
        others = sum(len(context) for take in self._takes for context in take) \
            - len(self.longest())
        lines = [
            f'{self._odd} odd images (repeated, late or misdated) were left out' if self._odd
            else '',
            f'{others} images before or after a lasting jump of time or source were left out'
            if others else '']
        return '; '.join(filter(None, lines))


def _source_of(message: Any) -> tuple[Any, ...]:
    """Return what must not change within a recording."""
    if hasattr(message, 'encoding'):
        return message.width, message.height, message.encoding, message.header.frame_id
    return message.format, message.header.frame_id


def _reader(path: Path) -> BagReader:
    """Return an open bag; the least recently used of many is closed."""
    # A reader that a forked worker inherits shares its place in the file with the parent.
    key = (os.getpid(), path)
    if key in _readers:
        _readers.move_to_end(key)
        return _readers[key]
    try:
        reader = BagReader(path)
    except UserError as error:
        raise BrokenFile(path, error) from None
    _readers[key] = reader
    if len(_readers) > _OPEN_BAGS:
        _, oldest = _readers.popitem(last=False)
        oldest.close()
    return reader


def open_bags(
    path: str | Path | Sequence[str | Path], image: str | None = None, labels: str | None = None,
    depth: str | None = None, start: float = 0.0, end: float | None = None,
    rectified: bool | str = 'auto',
) -> list[BagRecording]:
    """Return a bag (file or folder), a list of bags, or every bag below a folder."""
    if start < 0 or (end is not None and end <= start):
        raise UserError(f'range {start} to {end} s of a bag: must be positive, the end last')
    rectified = str(rectified).lower()   # true and false are bools in YAML
    if rectified not in RECTIFIED:
        raise UserError(f'rectified {rectified!r} of a bag: must be one of {", ".join(RECTIFIED)}')
    if isinstance(path, (str, Path)):
        path = Path(path)
        is_bag = path.is_file() or (path / 'metadata.yaml').is_file()
        paths = [path] if is_bag else _find_bags(path)
        if not paths:
            raise UserError(f'{path}: no bag ({", ".join(_BAG_SUFFIXES)} or a rosbag2 folder)')
    else:
        paths = [Path(item) for item in path]
    return [BagRecording(item, image, labels, depth, start, end, rectified) for item in paths]


def _find_bags(folder: Path) -> list[Path]:
    folders = {item.parent for item in folder.rglob('metadata.yaml')}
    files = {item for item in folder.rglob('*') if item.suffix in _BAG_SUFFIXES
             and item.parent not in folders}
    return sorted(folders | files)
