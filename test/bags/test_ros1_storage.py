# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Damaged and unusual ROS 1 bags give what is whole and say the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rosbags.rosbag1 import Writer as Rosbag1Writer
from rosbags.typesys import Stores, get_typestore
from support.bags import START
from support.numbered_bags import FRAMES, STEP, numbers

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bags.messages import CameraMessages
from deltaworld_ros.bags.reader import BagReader
from deltaworld_ros.errors import UserError


def write_ros1(path: Path, compression: Any = None,
               foreign: tuple[str, str] | None = None) -> Path:
    store = get_typestore(Stores.ROS1_NOETIC)
    writer = Rosbag1Writer(path)
    if compression:
        writer.set_compression(compression)
    with writer:
        used = [writer.add_connection('/camera/image', 'sensor_msgs/msg/Image', typestore=store,
                                      callerid=caller) for caller in ('/a', '/b')]
        other = foreign and writer.add_connection(
            '/lidar', 'my_msgs/msg/Scan', msgdef=foreign[0], md5sum=foreign[1])
        for number in range(20):
            stamp = START + number * STEP
            header = store.types['std_msgs/msg/Header'](
                seq=number, frame_id='cam', stamp=store.types['builtin_interfaces/msg/Time'](
                    *divmod(stamp, 10**9)))
            message = store.types['sensor_msgs/msg/Image'](
                header, 48, 64, 'rgb8', 0, 192, FRAMES[number].ravel())
            writer.write(used[number // 10], stamp,
                         store.serialize_ros1(message, 'sensor_msgs/msg/Image'))
            if other:
                writer.write(other, stamp, bytes(12))
    return path


@pytest.mark.parametrize('compression', [
    None, Rosbag1Writer.CompressionFormat.BZ2, Rosbag1Writer.CompressionFormat.LZ4])
def test_ros1_bags_with_two_connections_of_a_topic(tmp_path: Path, compression: Any) -> None:
    path = write_ros1(tmp_path / 'old.bag', compression)
    assert numbers(path) == (list(range(20)), '')
    with CameraMessages(path) as messages:
        assert messages.count == 20 and len(list(messages)) == 20


@pytest.mark.parametrize('foreign', [
    ('', 'ff6baa58985b528481871cbaf1bb342f'), ('uint8 a\n', '*'),
    ('std_msgs/Header header\nmy_msgs/Packet[] packets\n', 'ff6baa58985b528481871cbaf1bb342f')])
def test_the_definition_of_another_ros1_topic_does_not_matter(
        tmp_path: Path, foreign: tuple[str, str]) -> None:
    assert numbers(write_ros1(tmp_path / 'old.bag', foreign=foreign))[0] == list(range(20))


def test_damage_in_ros1_bags(tmp_path: Path) -> None:
    path = write_ros1(tmp_path / 'old.bag')
    data = bytearray(path.read_bytes())
    at = data.find(b'rgb8', len(data) // 2)
    data[at - 4:at] = (4_000_000_000).to_bytes(4, 'little')
    path.write_bytes(data)
    with BagFrames(path) as bag:
        assert len(list(bag)) == 19 and bag.unreadable == 1
        assert 'damaged message' in bag.problem
    with CameraMessages(path) as messages:
        assert len(list(messages)) == 19
        assert messages.losses == '1 damaged messages were left out'
    packed = write_ros1(tmp_path / 'packed.bag', Rosbag1Writer.CompressionFormat.LZ4)
    data = bytearray(packed.read_bytes())
    at = data.find(b'\x04\x22\x4d\x18')
    data[at + 40:at + 48] = b'\xff' * 8
    packed.write_bytes(data)
    found, losses = numbers(packed)
    assert len(found) < 20 and '`rosbag fix`' in losses


@pytest.mark.parametrize(('make', 'said'), [
    (lambda data: data[:int(0.7 * len(data))], 'rosbag reindex'),
    (lambda data: data.replace(b'index_pos=', b'index_pos=' + bytes(8), 1)[:-8], 'rosbag reindex'),
])
def test_ros1_bags_without_an_index_name_the_remedy(
        tmp_path: Path, make: Callable[[bytes], bytes], said: str) -> None:
    path = write_ros1(tmp_path / 'old.bag')
    path.write_bytes(make(path.read_bytes()))
    with pytest.raises(UserError, match=said) as caught:
        BagReader(path)
    assert '\n' not in str(caught.value)
