# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reading of cameras and ground truth from real bags of every kind."""

from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Rosbag1Writer
from rosbags.typesys import Stores, get_typestore
from support.bags import (
    START,
    camera_info_message,
    compressed_message,
    image_message,
    write_bag,
    write_drive,
)

from deltaworld_ros.bags.frames import BagFrames, Frame
from deltaworld_ros.bags.maps import decode_depth, decode_labels, decode_map
from deltaworld_ros.errors import UserError

FRAMES = np.random.default_rng(0).integers(0, 256, (8, 12, 20, 3)).astype(np.uint8)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('compressed', [False, True])
def test_images_of_any_storage_and_transport(tmp_path: Path, storage: str, compressed: bool):
    path = write_drive(tmp_path / 'bag', FRAMES, storage=storage, compressed=compressed,
                       focal_length=15.0)
    with BagFrames(path) as bag:
        assert bag.count == 8
        frames = list(bag)
    assert {focal_length(frame) for frame in frames} == {15.0}
    np.testing.assert_array_equal([frame.image for frame in frames], FRAMES)
    assert [frame.stamp for frame in frames] == [START + i * 100_000_000 for i in range(8)]
    assert {frame.frame_id for frame in frames} == {'camera'}
    assert all(frame.labels is None and frame.depth is None for frame in frames)


def test_a_single_mcap_file_without_its_folder(tmp_path: Path):
    path = write_drive(tmp_path / 'bag', FRAMES)
    (path / 'metadata.yaml').unlink()
    with BagFrames(path / 'bag.mcap') as bag:
        np.testing.assert_array_equal([frame.image for frame in bag], FRAMES)


def test_a_ros1_bag(tmp_path: Path):
    store = get_typestore(Stores.ROS1_NOETIC)
    types = store.types
    with Rosbag1Writer(tmp_path / 'old.bag') as writer:
        images = writer.add_connection(
            '/camera/image', 'sensor_msgs/msg/Image', typestore=store)
        infos = writer.add_connection(
            '/camera/camera_info', 'sensor_msgs/msg/CameraInfo', typestore=store)
        for index, frame in enumerate(FRAMES):
            stamp = START + index * 100_000_000
            header = types['std_msgs/msg/Header'](
                seq=index, frame_id='cam',
                stamp=types['builtin_interfaces/msg/Time'](*divmod(stamp, 1_000_000_000)))
            info = types['sensor_msgs/msg/CameraInfo'](
                header, 12, 20, 'plumb_bob', np.zeros(5),
                np.array([9.0, 0, 10, 0, 9.0, 6, 0, 0, 1]), np.eye(3).ravel(), np.zeros(12), 0, 0,
                types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False))
            image = types['sensor_msgs/msg/Image'](header, 12, 20, 'rgb8', 0, 60, frame.ravel())
            writer.write(infos, stamp, store.serialize_ros1(info, infos.msgtype))
            writer.write(images, stamp, store.serialize_ros1(image, images.msgtype))
    with BagFrames(tmp_path / 'old.bag') as bag:
        frames = list(bag)
    assert focal_length(frames[0]) == 9.0
    np.testing.assert_array_equal([frame.image for frame in frames], FRAMES)
    assert frames[3].stamp == START + 300_000_000


def test_ground_truth_is_found_and_joined_by_stamp(tmp_path: Path):
    labels = np.random.default_rng(1).integers(0, 4, (8, 6, 10)).astype(np.uint8)
    depth = np.random.default_rng(2).random((8, 6, 10)).astype(np.float32)
    path = write_drive(tmp_path / 'bag', FRAMES, labels=labels, depth=depth)
    with BagFrames(path) as bag:
        assert bag.topics == {'image': '/camera/image', 'camera_info': None,
                              'labels': '/camera/label', 'depth': '/camera/depth'}
        frames = list(bag)
    np.testing.assert_array_equal([frame.labels for frame in frames], labels)
    np.testing.assert_array_equal([frame.depth for frame in frames], depth)


def test_ground_truth_that_comes_late_or_never(tmp_path: Path):
    labels = np.arange(8, dtype=np.uint8)[:, None, None].repeat(6, 1).repeat(10, 2)
    messages = []
    for index, frame in enumerate(FRAMES):
        stamp = START + index * 100_000_000
        messages.append(('/camera/image', stamp, image_message(stamp, frame)))
        # Labels of every second image, two images late.
        old = stamp - 200_000_000
        if index >= 2 and index % 2 == 0:
            messages.append(
                ('/camera/label', stamp, image_message(old, labels[index - 2], 'mono8')))
    path = write_bag(tmp_path / 'bag', messages)
    with BagFrames(path) as bag:
        frames = list(bag)
    assert [frame.stamp for frame in frames] == [START + i * 100_000_000 for i in range(8)]
    found = [None if frame.labels is None else int(frame.labels[0, 0]) for frame in frames]
    assert found == [0, None, 2, None, 4, None, None, None]


def test_raw_and_compressed_twins_are_one_camera(tmp_path: Path):
    path = write_bag(tmp_path / 'bag', [
        ('/camera/image/compressed', START, compressed_message(START, FRAMES[0])),
        ('/camera/image', START, image_message(START, FRAMES[0]))])
    with BagFrames(path) as bag:
        assert bag.topics['image'] == '/camera/image'


def test_a_depth_camera_is_no_second_camera(tmp_path: Path):
    millimetres = np.full((12, 20), 1500, np.uint16)
    path = write_bag(tmp_path / 'bag', [
        ('/rgbd/depth/image_raw', START, image_message(START, millimetres, '16UC1')),
        ('/rgbd/color', START, image_message(START, FRAMES[0]))])
    with BagFrames(path) as bag:
        assert bag.topics['image'] == '/rgbd/color'


def test_a_camera_of_more_than_8_bits_is_found_where_it_is_the_only_one(tmp_path: Path):
    values = np.full((12, 20), 4000, np.uint16)
    path = write_bag(tmp_path / 'bag', [
        ('/ir/depth', START, image_message(START, values, '16UC1')),
        ('/ir/image', START, image_message(START, values, 'mono16'))])
    with BagFrames(path) as bag:
        assert bag.topics['image'] == '/ir/image'
        assert next(iter(bag)).image.max() == 250
        assert 'they use 12' in bag.note


def test_several_cameras_need_a_choice(tmp_path: Path):
    path = write_bag(tmp_path / 'bag', [
        ('/left/image', START, image_message(START, FRAMES[0])),
        ('/left/camera_info', START, camera_info_message(START, 20, 12, 5.0)),
        ('/right/camera_info', START, camera_info_message(START, 20, 12, 7.0)),
        ('/right/image', START, image_message(START, FRAMES[1]))])
    with pytest.raises(UserError, match='--image: /left/image, /right/image'):
        BagFrames(path)
    with BagFrames(path, image='/right/image') as bag:
        assert bag.topics['camera_info'] == '/right/camera_info'
        frame = next(iter(bag))
    assert focal_length(frame) == 7.0
    np.testing.assert_array_equal(frame.image, FRAMES[1])


@pytest.mark.parametrize(('make', 'message'), [
    (lambda folder: folder / 'nowhere', 'there is no such bag'),
    (lambda folder: folder, 'not a readable'),
    (lambda folder: _file(folder / 'x.mcap', b'not a bag'), 'not a readable'),
    (lambda folder: _file(folder / 'x.bag', b'#ROSBAG V2.0\n'), 'not a readable'),
    (lambda folder: _file(folder / 'x.txt', b'text'), 'not a readable'),
])
def test_what_is_no_bag(tmp_path: Path, make, message: str):
    with pytest.raises(UserError, match=message) as caught:
        BagFrames(make(tmp_path))
    assert '\n' not in str(caught.value)


def test_topics_that_are_not_there(tmp_path: Path):
    path = write_drive(tmp_path / 'bag', FRAMES)
    with pytest.raises(UserError, match="no topic '/other'.*it has /camera/image"):
        BagFrames(path, image='/other')
    with pytest.raises(UserError, match='CameraInfo; it has none'):
        BagFrames(path, camera_info='/camera/camera_info')
    only_info = write_bag(
        tmp_path / 'info', [('/camera_info', START, camera_info_message(START, 4, 4, 1.0))])
    with pytest.raises(UserError, match='no colour images; its topics are /camera_info'):
        BagFrames(only_info)


def test_unreadable_images_are_counted_and_passed_over(tmp_path: Path):
    broken = compressed_message(START + 1, FRAMES[1])
    broken.data = broken.data[:30]
    path = write_bag(tmp_path / 'bag', [
        ('/image/compressed', START, compressed_message(START, FRAMES[0])),
        ('/image/compressed', START + 1, broken),
        ('/image/compressed', START + 2, compressed_message(START + 2, FRAMES[2]))])
    with BagFrames(path) as bag:
        frames = list(bag)
        assert bag.unreadable == 1
        assert bag.problem
    np.testing.assert_array_equal([frame.image for frame in frames], FRAMES[[0, 2]])


def test_intrinsics_that_are_not_calibrated_are_none(tmp_path: Path):
    path = write_drive(tmp_path / 'bag', FRAMES, focal_length=0.0)
    with BagFrames(path) as bag:
        assert {(frame.intrinsics is None, frame.camera_problem[:41]) for frame in bag} == {
            (True, 'camera_info: the focal lengths in K are 0')}


@pytest.mark.parametrize(('topic', 'rectified', 'expected'), [
    ('/camera/image', 'auto', 15.0), ('/camera/image_rect', 'auto', 12.0),
    ('/camera/image', 'true', 12.0), ('/camera/image_rect', 'false', 15.0),
])
def test_rectified_images_have_the_intrinsics_of_p(
        tmp_path: Path, topic: str, rectified: str, expected: float):
    info = camera_info_message(START, 20, 12, 15.0)
    info.p[[0, 5]] = 12.0
    path = write_bag(tmp_path / 'bag', [
        ('/camera/camera_info', START, info), (topic, START, image_message(START, FRAMES[0]))])
    with BagFrames(path, rectified=rectified) as bag:
        assert [focal_length(frame) for frame in bag] == [expected]


def test_region_of_interest_and_binning_of_a_bag(tmp_path: Path):
    info = camera_info_message(START, 100, 60, 50.0)
    info.roi.width, info.roi.height, info.roi.x_offset, info.roi.y_offset = 40, 24, 30, 18
    info.binning_x = info.binning_y = 2
    path = write_bag(tmp_path / 'bag', [
        ('/camera/camera_info', START, info),
        ('/camera/image', START, image_message(START, FRAMES[0])),
        ('/camera/image', START + 1, image_message(START + 1, FRAMES[1][:6]))])
    with BagFrames(path) as bag:
        frames = list(bag)
    assert frames[0].intrinsics is not None
    np.testing.assert_allclose(
        frames[0].intrinsics, [[25, 0, 9.75], [0, 25, 5.75], [0, 0, 1]])
    assert frames[1].intrinsics is None
    assert frames[1].camera_problem == 'camera_info is for images of 20x12, the image is 20x6'


def test_a_camera_info_is_matched_by_stamp_and_else_the_one_before(tmp_path: Path):
    messages = []
    for index, frame in enumerate(FRAMES):
        stamp = START + index * 100_000_000
        messages.append(('/camera/image', stamp, image_message(stamp, frame)))
        if index in (2, 5):  # written after the image of the same stamp
            info = camera_info_message(stamp, 20, 12, 10.0 * index)
            messages.append(('/camera/camera_info', stamp, info))
    with BagFrames(write_bag(tmp_path / 'bag', messages)) as bag:
        found = [focal_length(frame) for frame in bag]
    assert found == [20, 20, 20, 20, 20, 50, 50, 50]


def test_maps_honour_step_endianness_and_channels():
    values = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    message = image_message(0, values, '32FC4')
    np.testing.assert_array_equal(decode_map(message), values)
    padded = np.zeros((2, 7), np.uint8)
    padded[:, :3] = [[1, 2, 3], [4, 5, 6]]
    message = image_message(0, padded, 'mono8')
    message.width = 3
    np.testing.assert_array_equal(decode_labels(message), padded[:, :3])
    big = image_message(0, np.array([[1500, 0]], '>u2').view(np.uint16), '16UC1')
    big.is_bigendian = 1
    np.testing.assert_array_equal(decode_depth(big), np.float32([[1.5, np.nan]]))


@pytest.mark.parametrize(('change', 'reason'), [
    ({'encoding': 'rgb8'}, 'is no map'),
    ({'encoding': '32FC0'}, 'is no map'),
    ({'step': 3}, 'do not fit'),
    ({'height': 900}, 'do not fit'),
    ({'width': 0, 'step': 0}, 'do not fit'),
    ({'data': np.zeros(3, np.uint8)}, 'do not fit'),
])
def test_malformed_maps_are_refused(change: dict, reason: str):
    message = image_message(0, np.zeros((4, 5), np.float32), '32FC1')
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(UserError, match=reason):
        decode_map(message)


def test_a_map_of_the_wrong_kind_is_refused():
    with pytest.raises(UserError, match='is no depth'):
        decode_depth(image_message(0, np.zeros((4, 5), np.uint8), 'mono8'))
    with pytest.raises(UserError, match='is no label map'):
        decode_labels(image_message(0, np.zeros((4, 5), np.float32), '32FC1'))


def focal_length(frame: Frame) -> float | None:
    return None if frame.intrinsics is None else float(frame.intrinsics[0, 0])


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
