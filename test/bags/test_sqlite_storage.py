# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Damaged and unusual sqlite bags give what is whole and say the rest."""

from __future__ import annotations

import shutil
import sqlite3
import tracemalloc
from pathlib import Path

import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from support.bags import START, STORE, image_message
from support.numbered_bags import FRAMES, STEP, file_of, numbers, write

from deltaworld_ros.errors import UserError


def test_malformed_pages_of_sqlite_cost_only_their_messages(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag', 'sqlite3')
    file = file_of(path)
    data = bytearray(file.read_bytes())
    pages = len(data) // 4096
    # Pages that hold the rest of a large row are read only when its message is.
    overflow = [page for page in range(pages // 2, pages - 1)
                if data[page * 4096] not in (2, 5, 10, 13)]
    for page in overflow[:2]:
        data[page * 4096:(page + 1) * 4096] = b'\xff' * 4096
    file.write_bytes(data)
    found, losses = numbers(path)
    assert 27 <= len(found) <= 29
    assert 'malformed' in losses and '`ros2 bag reindex`' in losses


def test_a_query_in_place_of_a_table_is_refused(tmp_path: Path) -> None:
    """It could go on for ever."""
    path = write(tmp_path / 'bag', 'sqlite3')
    with sqlite3.connect(file_of(path)) as database:
        database.execute('ALTER TABLE messages RENAME TO others')
        database.execute(
            'CREATE VIEW messages AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 '
            'FROM n) SELECT x AS id, topic_id, timestamp + x AS timestamp, data FROM n, others')
    with pytest.raises(UserError, match='messages is a view, not a table'):
        numbers(path)


def test_a_message_that_no_camera_sends_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag', 'sqlite3')
    with sqlite3.connect(file_of(path)) as database:
        database.execute('UPDATE messages SET data = zeroblob(900000000) WHERE id = 5')
    tracemalloc.start()
    found, losses = numbers(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 29 and 'message 5 has 900000000 bytes' in losses
    assert peak < 100e6


def test_the_rest_of_a_sqlite_bag_whose_index_is_damaged(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag', 'sqlite3')
    file = file_of(path)
    with sqlite3.connect(file) as database:
        page, = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'timestamp_idx'").fetchone()
    data = bytearray(file.read_bytes())
    data[(page - 1) * 4096:page * 4096] = b'\xff' * 4096
    file.write_bytes(data)
    found, losses = numbers(path)
    assert found == list(range(30)) and 'malformed' in losses


def test_messages_in_the_write_ahead_log(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag', 'sqlite3', frames=10)
    file = file_of(path)
    database = sqlite3.connect(file)
    database.execute('PRAGMA journal_mode = WAL')
    database.execute('PRAGMA wal_autocheckpoint = 0')
    for number in range(10, 20):
        stamp = START + number * STEP
        data = STORE.serialize_cdr(image_message(stamp, FRAMES[number]), 'sensor_msgs/msg/Image')
        database.execute('INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)',
                         (stamp, bytes(data)))
    database.commit()
    copy = tmp_path / 'copy'   # as it lies there after the recorder was killed
    shutil.copytree(path, copy)
    database.close()
    assert numbers(copy) == (list(range(20)), '')


@pytest.mark.parametrize('which', ['sensor_msgs%', 'my_msgs%', '%'])
def test_missing_definitions(tmp_path: Path, which: str) -> None:
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg('uint8 a\n', 'my_msgs/msg/Packet'))
    path = write(tmp_path / 'bag', 'sqlite3', store=store, frames=3,
                 extra=(('/lidar', store.types['my_msgs/msg/Packet'](1)),))
    with sqlite3.connect(file_of(path)) as database:
        database.execute('DELETE FROM message_definitions WHERE topic_type LIKE ?', (which,))
    assert numbers(path) == ([0, 1, 2], '')
