# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Paths, metadata, definitions and topics of a bag, whatever its storage."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from support.bags import START, STORE, compressed_message
from support.numbered_bags import FRAMES, change_metadata, file_of, numbers, write

from deltaworld_ros.bags.decompression import zstd
from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bags.reader import BagReader
from deltaworld_ros.errors import UserError


@pytest.mark.parametrize('name', ['a bag', '100%', 'what?', 'a#b', 'a&immutable=0', 'ä'])
@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_odd_characters_in_paths(tmp_path: Path, storage: str, name: str) -> None:
    file = file_of(write(tmp_path / 'plain', storage, frames=2))
    path = tmp_path / name / f'{name}{file.suffix}'
    path.parent.mkdir()
    shutil.copy(file, path)
    assert numbers(path) == ([0, 1], '')


@pytest.mark.parametrize('change', [
    ('unknown', ''), ('ros2msg', 'uint8 a\nuint8 b\n'),
    ('ros2msg', 'this is = no @@ definition\n'),
    ('ros2msg', 'std_msgs/Header header\nother_pkg/Part[] parts\n')])
def test_the_definition_of_another_topic_does_not_matter(
        tmp_path: Path, change: tuple[str, str]) -> None:
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg('uint8 a\n', 'my_msgs/msg/Packet'))
    path = write(tmp_path / 'bag', 'sqlite3', store=store, frames=3,
                 extra=(('/lidar', store.types['my_msgs/msg/Packet'](1)),))
    with sqlite3.connect(file_of(path)) as database:
        database.execute('UPDATE message_definitions SET encoding = ?, '
                         "encoded_message_definition = ? WHERE topic_type LIKE 'my_msgs%'", change)
    assert numbers(path) == ([0, 1, 2], '')


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_edited_qualities_of_service(tmp_path: Path, storage: str) -> None:
    far = QosTime(9223372036, 854775807)
    path = write(tmp_path / 'bag', storage, frames=3, offered_qos_profiles=[Qos(
        QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.VOLATILE, far, far,
        QosLiveliness.AUTOMATIC, far, False)])
    for value in ('', 'no: [yaml', 7):
        change_metadata(path, lambda info, value=value: [
            topic['topic_metadata'].update(offered_qos_profiles=value)
            for topic in info['topics_with_message_count']])
        assert numbers(path) == ([0, 1, 2], '')


def test_topics_without_messages_are_no_choice(tmp_path: Path) -> None:
    writer = Writer(tmp_path / 'bag', version=9, storage_plugin=StoragePlugin.MCAP)
    with writer:
        for topic in ('/camera/image', '/rear/image', '/camera/depth'):
            writer.add_connection(topic, 'sensor_msgs/msg/Image', typestore=STORE)
        used = writer.add_connection(
            '/camera/image/compressed', 'sensor_msgs/msg/CompressedImage', typestore=STORE)
        writer.write(used, START, STORE.serialize_cdr(
            compressed_message(START, FRAMES[0]), 'sensor_msgs/msg/CompressedImage'))
    with BagFrames(tmp_path / 'bag') as bag:
        assert bag.topics == {'image': '/camera/image/compressed', 'camera_info': None,
                              'labels': None, 'depth': None}
        assert len(list(bag)) == 1


@pytest.mark.parametrize(('content', 'said'), [
    (None, 'every file of the folder is read ({path}/metadata.yaml: no such file'),
    ('', 'without a usable metadata.yaml every file of the folder is read (it does not list the'),
    ('rosbag2_bagfile_information: [1', 'without a usable metadata.yaml'),
    ('rosbag2_bagfile_information: [1]', 'it does not list the files of a recording'),
    # As a text, the name would have gigabytes.
    ('\n'.join(['a0: &a0 [x]', *(f'a{level}: &a{level} [{", ".join([f"*a{level - 1}"] * 10)}]'
                                for level in range(1, 10)),
                'rosbag2_bagfile_information: {relative_file_paths: [*a9]}']),
     'metadata.yaml: holds more than 1000000 values'),
])
def test_a_folder_whose_metadata_is_gone(tmp_path: Path, content: str | None, said: str) -> None:
    path = write(tmp_path / 'bag', frames=3)
    if content is None:
        (path / 'metadata.yaml').unlink()
    else:
        (path / 'metadata.yaml').write_text(content, encoding='utf-8')
    found, losses = numbers(path)
    assert found == [0, 1, 2] and '`ros2 bag reindex`' in losses
    assert said.replace('{path}', str(path)) in losses


@pytest.mark.parametrize(('make', 'what'), [
    (lambda file: file.symlink_to('/dev/zero'), 'a device'), (os.mkfifo, 'a pipe'),
    (Path.mkdir, 'a folder')])
def test_metadata_that_is_no_file(
        tmp_path: Path, make: Callable[[Path], None], what: str) -> None:
    """Read like a file, a device would never end and a pipe never begin."""
    path = write(tmp_path / 'bag', frames=3)
    (path / 'metadata.yaml').unlink()
    make(path / 'metadata.yaml')
    found, losses = numbers(path)
    assert found == [0, 1, 2] and f'is {what}; must be a regular file' in losses


def test_packed_file_that_is_no_bag_is_named_and_not_its_copy(tmp_path: Path) -> None:
    path = tmp_path / 'drive.mcap.zstd'
    path.write_bytes(zstd.compress(b'no bag at all'))
    with pytest.raises(UserError, match='it begins as none of them') as caught:
        BagReader(path)
    assert str(caught.value).startswith(f'{path}: ')


def test_metadata_of_thousands_of_files(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag', frames=3)

    def split(info: dict[str, Any]) -> None:
        entry = info['files'][0]
        names = [f'bag_{number}.mcap' for number in range(3000)]
        info['relative_file_paths'] += names
        info['files'] += [{**entry, 'path': name} for name in names]

    change_metadata(path, split)
    found, losses = numbers(path)
    assert found == [0, 1, 2] and 'bag_2999.mcap is missing' in losses
    assert 'without a usable metadata.yaml' not in losses


def test_the_duration_of_a_bag_with_an_empty_file(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag', frames=3)
    shutil.copy(file_of(write(tmp_path / 'none', frames=0)), path / 'none.mcap')
    change_metadata(path, lambda info: info['relative_file_paths'].append('none.mcap'))
    reader = BagReader(path)
    assert reader.duration == pytest.approx(0.2)
    reader.close()


def test_a_split_bag_in_the_wrong_order_and_with_a_file_missing(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag', frames=3)
    before = write(tmp_path / 'before', frames=1)
    shutil.copy(file_of(before), path / 'zz.mcap')
    change_metadata(path, lambda info: info.update(
        relative_file_paths=['bag.mcap', 'zz.mcap', 'gone.mcap'], storage_identifier=''))
    found, losses = numbers(path)
    assert sorted(found) == [0, 0, 1, 2] and 'gone.mcap is missing' in losses
