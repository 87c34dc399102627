# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Read rosbag2's sqlite3 files, and of damaged ones every message that is whole."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from deltaworld_ros.bags.decompression import MAX_BYTES
from deltaworld_ros.bags.storage import Losses, Message, Topic
from deltaworld_ros.errors import UserError

MAGIC = b'SQLite format 3\x00'
# So many messages are listed at once, by time and without their data.
_PAGE = 1000
# A file in which nothing but damage is found for so long is given up.
_MAX_DAMAGED = 10_000


class SqliteStorage:
    """An open .db3 file, with what is in its write-ahead log."""

    def __init__(self, path: Path) -> None:
        self.losses = Losses('try `ros2 bag reindex`, or `sqlite3 FILE .recover`')
        self._path = path
        self._database = self._open()
        try:
            self._check_tables()
            self._read_topics()
        except sqlite3.Error as error:
            self.close()
            raise UserError(f'{path}: not a readable sqlite3 bag: {error}; try '
                            '`sqlite3 FILE .recover`') from None
        except UserError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def messages(
        self, topics: Collection[str], start: int | None, stop: int | None,
    ) -> Iterator[Message]:
        """Yield the messages of these topics, log times from `start` until before `stop`."""
        wanted = {number: topic for number, topic in self._topics.items() if topic.topic in topics}
        if not wanted:
            return
        places = ','.join('?' * len(wanted))
        # The data of one that is too large is not read at all.
        query = ('SELECT topic_id, CASE WHEN length(data) <= ? THEN data ELSE length(data) END '
                 f'FROM messages WHERE id = ? AND topic_id IN ({places})')
        damaged = 0
        for time, number in self._listing(start, stop):
            if not isinstance(time, int):   # a damaged page may hold anything
                continue
            try:
                row = self._database.execute(query, (MAX_BYTES, number, *wanted)).fetchone()
            except (sqlite3.Error, OverflowError, MemoryError) as error:
                self.losses.add(number, f'message {number}: {error}')
                damaged += 1
                if damaged > _MAX_DAMAGED:
                    return
                continue
            if row is not None and isinstance(row[1], bytes):
                yield Message(wanted[row[0]], time, row[1])
            elif row is not None and isinstance(row[1], int):
                self.losses.add(number, f'message {number} has {row[1]} bytes')

    def _open(self) -> sqlite3.Connection:
        uri = self._path.absolute().as_uri()   # quotes what a path may hold and an address not
        log = self._path.with_name(f'{self._path.name}-wal')
        if log.exists() and log.stat().st_size:
            with contextlib.suppress(sqlite3.Error):
                database = self._connect(f'{uri}?mode=ro')
                database.execute('SELECT count(*) FROM sqlite_master').fetchone()
                return database
            self.losses.add('log', f'{log.name}, the newest messages, cannot be read: copy the '
                            'bag to where it may be written')
        return self._connect(f'{uri}?immutable=1')

    def _connect(self, uri: str) -> sqlite3.Connection:
        database = sqlite3.connect(uri, uri=True, check_same_thread=False)
        database.text_factory = lambda data: data.decode(errors='replace')
        return database

    def _rows(self, query: str, *values: Any) -> list[Any]:
        return self._database.execute(query, values).fetchall()

    def _check_tables(self) -> None:
        """Raise `UserError` where what should be tables are queries, which may never end."""
        for name, kind in self._rows(
                "SELECT name, type FROM sqlite_master WHERE name IN ('topics', 'messages')"):
            if kind != 'table':
                raise UserError(f'{self._path}: not a readable sqlite3 bag: {name} is a {kind}, '
                                'not a table')

    def _read_topics(self) -> None:
        found = self._rows('SELECT id, name, type FROM topics ORDER BY id')
        counts: dict[int, int] = {}
        self.start = self.end = 0
        try:
            counts = dict(self._rows('SELECT topic_id, count(*) FROM messages GROUP BY topic_id'))
            self.start, self.end = (value or 0 for value in self._rows(
                'SELECT min(timestamp), max(timestamp) FROM messages')[0])
        except sqlite3.Error as error:
            # What is there is found when it is read.
            self.losses.add('counts', error)
            counts = {number: 1 for number, _, _ in found}
        self._topics = {
            number: Topic(str(name), str(kind), counts.get(number, 0))
            for number, name, kind in found}
        merged: dict[tuple[str, str], int] = {}
        for topic in self._topics.values():
            key = topic.topic, topic.msgtype
            merged[key] = merged.get(key, 0) + topic.msgcount
        self._topics = {
            number: topic._replace(msgcount=merged[topic.topic, topic.msgtype])
            for number, topic in self._topics.items()}
        self.topics = list(dict.fromkeys(self._topics.values()))

    def _listing(self, start: int | None, stop: int | None) -> Iterator[tuple[int, int]]:
        """Yield log time and id of all messages in order; by id where the index is damaged."""
        first = -2**63 if start is None else start
        last = 2**63 - 1 if stop is None else stop
        time, number = first, -2**63
        try:
            if not self._has_index():
                yield from self._rows(
                    'SELECT timestamp, id FROM messages WHERE timestamp >= ? AND timestamp < ? '
                    'ORDER BY timestamp, id', first, last)
                return
            while page := self._rows(
                    'SELECT timestamp, id FROM messages WHERE (timestamp, id) > (?, ?) '
                    'AND timestamp < ? ORDER BY timestamp, id LIMIT ?',
                    time, number, last, _PAGE):
                yield from page
                time, number = page[-1]
            return
        except sqlite3.Error as error:
            self.losses.add('index', f'the index of times: {error}')
        yield from self._listing_by_id(max(first, time + (number > -2**63)), last)

    def _listing_by_id(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        number = damaged = 0
        while damaged <= _MAX_DAMAGED:
            try:
                row = self._database.execute(
                    'SELECT id, timestamp FROM messages WHERE id > ? ORDER BY id LIMIT 1',
                    (number,)).fetchone()
                if row is None:
                    return
                number = row[0]
            except (sqlite3.Error, OverflowError):
                number, damaged = number + 1, damaged + 1
                continue
            if isinstance(row[1], int) and first <= row[1] < last:
                yield row[1], number

    def _has_index(self) -> bool:
        return bool(self._rows("SELECT 1 FROM sqlite_master WHERE type = 'index' "
                               "AND tbl_name = 'messages' AND name LIKE 'timestamp%'"))
