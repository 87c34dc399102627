# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Compressed bags, and messages that expand to more than a message may."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from rosbags.rosbag2 import CompressionMode
from support.numbered_bags import file_of, numbers, write

from deltaworld_ros.bags.decompression import DamagedData, decompress, zstd


@pytest.mark.parametrize('mode', [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_bags(tmp_path: Path, mode: CompressionMode) -> None:
    path = write(tmp_path / 'bag', 'sqlite3', mode, frames=3)
    assert numbers(path) == ([0, 1, 2], '')


def test_a_bomb_in_a_message_is_left_out(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / 'bag', 'sqlite3', frames=3)
    bomb = zstd.compress(bytes(2**20))
    with sqlite3.connect(file_of(path)) as database:
        database.execute('UPDATE messages SET data = ? WHERE id = 2', (bomb,))
    monkeypatch.setattr(decompress, '__defaults__', (2**19,))
    found, losses = numbers(path)
    assert found == [0, 2] and 'holds more than 0 MiB' in losses


@pytest.mark.parametrize(('data', 'kind', 'reason'), [
    (zstd.compress(bytes(10_000)), 'zstd', 'holds more than 0 MiB'),
    (zstd.compress(bytes(100))[:-4], 'zstd', 'cut short'),
    (b'nothing', 'zstd', 'damaged'), (b'nothing', 'lz4', 'damaged'), (b'no', 'bz2', 'damaged'),
    (b'nothing', 'brotli', "'brotli' is unknown"),
])
def test_data_that_is_not_decompressed(data: bytes, kind: str, reason: str) -> None:
    with pytest.raises(DamagedData, match=reason):
        decompress(data, kind, 1000)
