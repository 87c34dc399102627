# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Damaged and unusual mcap bags give what is whole and say the rest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from rosbags.rosbag2 import CompressionMode
from support.bags import START, camera_info_message
from support.numbered_bags import change_metadata, file_of, numbers, write

from deltaworld_ros.bags import mcap_storage as mcap
from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bags.messages import CameraMessages
from deltaworld_ros.errors import UserError


def zstd_frames(data: bytes) -> list[int]:
    return [at for at in range(len(data) - 4) if data[at:at + 4] == b'\x28\xb5\x2f\xfd']


def test_a_damaged_chunk_costs_only_itself(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag', compression=CompressionMode.STORAGE, frames=40)
    whole = CameraMessages(path).count
    data = bytearray(file_of(path).read_bytes())
    starts = zstd_frames(bytes(data))
    assert len(starts) >= 1
    # The writer makes few chunks of so small a bag: a second file follows the first.
    second = write(tmp_path / 'other', frames=3)
    at = starts[len(starts) // 2]
    data[at:at + 4] = b'\0\0\0\0'
    file_of(path).write_bytes(data)
    shutil.copy(file_of(second), path / 'second.mcap')
    change_metadata(path, lambda info: info['relative_file_paths'].append('second.mcap'))
    found, losses = numbers(path)
    assert 3 <= len(found) < whole + 3
    assert 'a damaged part was left out (at byte' in losses and '`mcap recover bag.mcap`' in losses


@pytest.mark.parametrize('share', [0.3, 0.8])
def test_a_cut_mcap_file_gives_what_is_there(tmp_path: Path, share: float) -> None:
    path = write_without_chunks(tmp_path / 'bag')
    file = file_of(path)
    data = file.read_bytes()
    file.write_bytes(data[:int(share * len(data))])
    for place in (file, path):
        found, losses = numbers(place)
        assert found == list(range(len(found)))
        assert abs(len(found) - 40 * share) <= 3
        assert 'a record goes beyond the end of the file' in losses
        assert '`mcap recover bag.mcap`' in losses


def write_without_chunks(path: Path) -> Path:
    """Write a drive without chunks and summary, as recorders with little memory do."""
    file = file_of(write(path, frames=40))
    data = file.read_bytes()
    parts = [mcap.MAGIC]
    for code, content in mcap._records(data[8:-8]):
        if code == mcap._CHUNK_CODE:
            parts.append(mcap._unpack_chunk(content))
        elif code in (0x01, mcap._SCHEMA, mcap._CHANNEL):
            parts.append(mcap._RECORD.pack(code, len(content)) + content)
        elif code == mcap._DATA_END:
            parts.append(mcap._RECORD.pack(code, len(content)) + content)
            break
    parts += [mcap._FOOTER.pack(2, 20, 0, 0, 0), mcap.MAGIC]
    file.write_bytes(b''.join(parts))
    return path


def test_a_file_of_which_nothing_is_left_names_the_remedy(tmp_path: Path) -> None:
    file = file_of(write(tmp_path / 'bag', frames=3))
    file.write_bytes(file.read_bytes()[:1000])
    for read in (BagFrames, CameraMessages):
        with pytest.raises(UserError, match=r'the end of the file\); try `mcap recover bag'):
            read(file)


def test_an_mcap_file_without_summary_and_chunks(tmp_path: Path) -> None:
    assert numbers(write_without_chunks(tmp_path / 'bag')) == (list(range(40)), '')


def test_a_schema_of_another_kind_in_an_mcap_file(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag', frames=3, extra=(
        ('/camera/camera_info', camera_info_message(START, 64, 48, 50.0)),))
    file = file_of(path)
    # The definitions of a recorder that does not know them.
    file.write_bytes(file.read_bytes().replace(b'ros2msg', b'unknown'))
    with BagFrames(file) as bag:
        frames = list(bag)
    assert [frame.intrinsics is not None for frame in frames] == [True] * 3
