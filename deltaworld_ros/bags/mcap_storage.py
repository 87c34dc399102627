# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Read MCAP files (https://mcap.dev/spec), and of damaged ones every chunk that is whole."""

from __future__ import annotations

import heapq
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

from deltaworld_ros.bags.decompression import MAX_BYTES, DamagedData, decompress
from deltaworld_ros.bags.storage import Losses, Message, Topic
from deltaworld_ros.errors import UserError

MAGIC = b'\x89MCAP0\r\n'
_RECORD = struct.Struct('<BQ')
_CHUNK = struct.Struct('<QQQI')     # start, end, uncompressed size, CRC
_MESSAGE = struct.Struct('<HIQQ')   # channel, sequence, log time, publish time
_FOOTER = struct.Struct('<BQQQI')
_FOOTER_CODE, _SCHEMA, _CHANNEL, _DATA, _CHUNK_CODE = 0x02, 0x03, 0x04, 0x05, 0x06
_CHUNK_INDEX, _STATISTICS, _DATA_END = 0x08, 0x0B, 0x0F
_MAX_SUMMARY = 256 * 2**20


@dataclass
class _Part:
    """A chunk, or a message outside of chunks: where it is, log times, channels (None: any)."""

    offset: int
    start: int
    end: int
    channels: set[int] | None = None


@dataclass
class _Contents:
    """What the file holds."""

    schemas: dict[int, str] = field(default_factory=dict)
    channels: dict[int, tuple[str, int]] = field(default_factory=dict)
    parts: list[_Part] = field(default_factory=list)
    counts: Counter[int] = field(default_factory=Counter)


class McapStorage:
    """An open MCAP file; without a usable summary it is read through once."""

    def __init__(self, path: Path) -> None:
        self.losses = Losses(f'try `mcap recover {path.name}`')
        self._file = path.open('rb')
        try:
            self._size = self._file.seek(0, 2)
            self._file.seek(0)
            if self._file.read(len(MAGIC)) != MAGIC:
                raise UserError(f'{path}: does not begin as an MCAP file')
            self._contents = self._read_summary() or self._scan()
        except BaseException:
            self._file.close()
            raise
        contents = self._contents
        contents.parts.sort(key=lambda part: part.start)
        self.start = min((part.start for part in contents.parts), default=0)
        self.end = max((part.end for part in contents.parts), default=0)
        self._topics: dict[int, Topic] = {}
        merged: Counter[tuple[str, str]] = Counter()
        for number, (name, schema) in contents.channels.items():
            merged[name, self._type(schema)] += contents.counts[number]
        for number, (name, schema) in contents.channels.items():
            kind = self._type(schema)
            self._topics[number] = Topic(name, kind, merged[name, kind])
        self.topics = list(dict.fromkeys(self._topics.values()))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def messages(
        self, topics: Collection[str], start: int | None, stop: int | None,
    ) -> Iterator[Message]:
        """Yield the messages of these topics, log times from `start` until before `stop`."""
        wanted = {number: topic for number, topic in self._topics.items() if topic.topic in topics}
        waiting: list[tuple[int, int, Message]] = []
        counter = 0
        for part in self._contents.parts:
            if (start is not None and part.end < start) or (
                    stop is not None and part.start >= stop):
                continue
            if part.channels is not None and not part.channels & wanted.keys():
                continue
            while waiting and waiting[0][0] < part.start:
                yield heapq.heappop(waiting)[2]
            for number, time, data in self._read_part(part):
                inside = (start is None or time >= start) and (stop is None or time < stop)
                if inside and number in wanted:
                    heapq.heappush(waiting, (time, counter, Message(wanted[number], time, data)))
                    counter += 1
        while waiting:
            yield heapq.heappop(waiting)[2]

    def _type(self, schema: int) -> str:
        return self._contents.schemas.get(schema, '')

    def _read_part(self, part: _Part) -> Iterator[tuple[int, int, bytes]]:
        """Yield channel, log time and data; a damaged part is noted and left out."""
        try:
            code, content = self._record(part.offset)
            if code == _DATA:
                yield _message(content)
            elif code == _CHUNK_CODE:
                for inner, record in _records(_unpack_chunk(content)):
                    if inner == _DATA:
                        yield _message(record)
            else:
                raise DamagedData('no chunk where the index says')
        except (DamagedData, struct.error) as error:
            self.losses.add(part.offset, f'at byte {part.offset}: {error}')

    def _record(self, offset: int) -> tuple[int, bytes]:
        if offset >= self._size:
            raise DamagedData('the index points beyond the end of the file')
        self._file.seek(offset)
        code, length = _RECORD.unpack(self._file.read(_RECORD.size))
        if offset + _RECORD.size + length > self._size:
            raise DamagedData('a record goes beyond the end of the file')
        if length > 2 * MAX_BYTES:
            raise DamagedData(f'a record of {length} bytes')
        return code, self._file.read(length)

    def _read_summary(self) -> _Contents | None:
        """Return what the summary at the end tells, None where it is not there or not whole."""
        footer_offset = self._size - len(MAGIC) - _FOOTER.size
        try:
            self._file.seek(max(0, footer_offset))
            code, length, start, _, _ = _FOOTER.unpack(self._file.read(_FOOTER.size))
            whole = code == _FOOTER_CODE and length == 20 and self._file.read(8) == MAGIC
            if not whole or not 0 < start < footer_offset or footer_offset - start > _MAX_SUMMARY:
                return None
            self._file.seek(start)
            found, has_statistics = _Contents(), False
            for code, content in _records(self._file.read(footer_offset - start)):
                _describe(found, code, content)
                if code == _CHUNK_INDEX:
                    found.parts.append(_indexed_chunk(content))
                elif code == _STATISTICS:
                    has_statistics = True
                    count, = struct.unpack_from('<I', content, 42)
                    found.counts.update(dict(struct.iter_unpack('<HQ', content[46:46 + count])))
        except (DamagedData, struct.error, UnicodeDecodeError):
            return None
        indexed = set().union(*(part.channels or set() for part in found.parts))
        schemas = {schema for _, schema in found.channels.values()}
        described = indexed <= found.channels.keys() and schemas <= found.schemas.keys() | {0}
        without_index = found.counts.total() > 0 and not found.parts
        return found if has_statistics and described and not without_index else None

    def _scan(self) -> _Contents:
        """Read the file through, up to where it breaks off."""
        found = _Contents()
        offset = len(MAGIC)
        while offset < self._size:
            try:
                code, content = self._record(offset)
            except (DamagedData, struct.error) as error:
                self.losses.add('end', f'from byte {offset}: {error}')
                break
            if code == _DATA_END:
                break
            try:
                self._scan_record(found, offset, code, content)
            except (DamagedData, struct.error, UnicodeDecodeError) as error:
                self.losses.add(offset, f'at byte {offset}: {error}')
            offset += _RECORD.size + len(content)
        return found

    @staticmethod
    def _scan_record(found: _Contents, offset: int, code: int, content: bytes) -> None:
        _describe(found, code, content)
        inside = _records(_unpack_chunk(content)) if code == _CHUNK_CODE else \
            iter([(code, content)] if code == _DATA else [])
        times = []
        channels = set()
        for code, record in inside:
            _describe(found, code, record)
            if code == _DATA:
                number, time, _ = _message(record)
                times.append(time)
                channels.add(number)
                found.counts[number] += 1
        if times:
            found.parts.append(_Part(offset, min(times), max(times), channels))


def _describe(found: _Contents, code: int, content: bytes) -> None:
    """Take in a schema or a channel."""
    if code == _SCHEMA:
        number, = struct.unpack_from('<H', content)
        found.schemas[number] = _text(content, 2)[0]
    elif code == _CHANNEL:
        number, schema = struct.unpack_from('<HH', content)
        found.channels[number] = (_text(content, 4)[0], schema)


def _indexed_chunk(content: bytes) -> _Part:
    start, end, offset, _, length = struct.unpack_from('<QQQQI', content)
    channels = {number for number, _ in struct.iter_unpack('<HQ', content[36:36 + length])}
    return _Part(offset, start, end, channels or None)


def _unpack_chunk(content: bytes) -> bytes:
    _, _, size, crc = _CHUNK.unpack_from(content)
    compression, at = _text(content, _CHUNK.size)
    length, = struct.unpack_from('<Q', content, at)
    packed = content[at + 8:at + 8 + length]
    if len(packed) != length or size > MAX_BYTES:
        raise DamagedData(f'a chunk of {size} bytes, {length} of them packed')
    data = decompress(packed, compression)
    if len(data) != size or (crc and crc32(data) != crc):
        raise DamagedData('the checksum of a chunk does not match')
    return data


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        code, length = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        if at + length > len(data):
            raise DamagedData('a record goes beyond its chunk')
        yield code, data[at:at + length]
        at += length


def _message(content: bytes) -> tuple[int, int, bytes]:
    channel, _, time, _ = _MESSAGE.unpack_from(content)
    return channel, time, content[_MESSAGE.size:]


def _text(content: bytes, at: int) -> tuple[str, int]:
    length, = struct.unpack_from('<I', content, at)
    if at + 4 + length > len(content):
        raise DamagedData('a text goes beyond its record')
    return content[at + 4:at + 4 + length].decode(), at + 4 + length
