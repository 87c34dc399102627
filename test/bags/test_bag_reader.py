# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags of every storage: damaged, unusual and hostile ones give what is whole and say the rest."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag1 import Writer as Rosbag1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from support.bags import START, STORE, camera_info_message, compressed_message, image_message

from deltaworld_ros.bags import mcap_storage as mcap
from deltaworld_ros.bags.decompression import DamagedData, decompress, zstd
from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bags.messages import CameraMessages
from deltaworld_ros.bags.reader import BagReader
from deltaworld_ros.errors import UserError

FRAMES = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3)).astype(np.uint8)
STEP = 100_000_000


def write(path: Path, storage: str = 'mcap', compression: CompressionMode | None = None,
          frames: int = 30, store: Any = STORE, extra: tuple[Any, ...] = (),
          **options: Any) -> Path:
    """Write a drive of raw images, and `extra` (topic, message) pairs beside the first one."""
    plugin = StoragePlugin.MCAP if storage == 'mcap' else StoragePlugin.SQLITE3
    writer = Writer(path, version=9, storage_plugin=plugin)
    if compression:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    messages = [('/camera/image', START + n * STEP, image_message(START + n * STEP, FRAMES[n]))
                for n in range(frames)]
    messages += [(topic, START, message) for topic, message in extra]
    connections: dict[str, Any] = {}
    with writer:
        for topic, time, message in sorted(messages, key=lambda one: one[1]):
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store, **options)
            writer.write(connections[topic], time, store.serialize_cdr(message, kind))
    return path


def file_of(path: Path) -> Path:
    return next(file for file in path.iterdir() if file.suffix in ('.mcap', '.db3'))


def numbers(path: Path, **options: Any) -> tuple[list[int], str]:
    """Return which frames of the drive come out, and what is said to be lost."""
    with BagFrames(path, **options) as bag:
        found = [(frame.stamp - START) // STEP for frame in bag]
        again = sum(1 for _ in bag)
        assert again == len(found)
        return found, bag.losses


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


@pytest.mark.parametrize('which', ['sensor_msgs%', 'my_msgs%', '%'])
def test_missing_definitions(tmp_path: Path, which: str) -> None:
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg('uint8 a\n', 'my_msgs/msg/Packet'))
    path = write(tmp_path / 'bag', 'sqlite3', store=store, frames=3,
                 extra=(('/lidar', store.types['my_msgs/msg/Packet'](1)),))
    with sqlite3.connect(file_of(path)) as database:
        database.execute('DELETE FROM message_definitions WHERE topic_type LIKE ?', (which,))
    assert numbers(path) == ([0, 1, 2], '')


def test_a_schema_of_another_kind_in_an_mcap_file(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag', frames=3, extra=(
        ('/camera/camera_info', camera_info_message(START, 64, 48, 50.0)),))
    file = file_of(path)
    # The definitions of a recorder that does not know them.
    file.write_bytes(file.read_bytes().replace(b'ros2msg', b'unknown'))
    with BagFrames(file) as bag:
        frames = list(bag)
    assert [frame.intrinsics is not None for frame in frames] == [True] * 3


def change_metadata(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    file = path / 'metadata.yaml'
    content = yaml.safe_load(file.read_text(encoding='utf-8'))
    change(content['rosbag2_bagfile_information'])
    file.write_text(yaml.safe_dump(content), encoding='utf-8')
    return path


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
    (None, 'every file of the folder is read (No such file'), ('', 'without a usable metadata.y'),
    ('rosbag2_bagfile_information: [1', 'without a usable metadata.yaml'),
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
    assert found == [0, 1, 2] and said in losses and '`ros2 bag reindex`' in losses


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
