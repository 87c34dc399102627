# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`deltaworld replay` over real DDS, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rosbags.rosbag1 import Writer as Rosbag1Writer
from rosbags.typesys import Stores, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from support.bags import START, write_drive
from support.ros_session import own_domain

from deltaworld_ros.bags.frames import BagFrames, stamp_of
from deltaworld_ros.bags.messages import CameraMessages, read_stamp, ros_time, with_stamp
from deltaworld_ros.bags.topic_names import ros_topic

pytestmark = pytest.mark.live

FRAMES = np.random.default_rng(0).integers(0, 256, (11, 24, 32, 3)).astype(np.uint8)
QUEUE = QoSProfile(depth=50)


class Listener:
    """Collects (arrival time, message) of topics in a domain of its own."""

    def __init__(self, domain: int) -> None:
        self.domain = domain
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = Node('listener', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)

    def subscribe(self, kind: Any, topic: str, qos: QoSProfile = QUEUE) -> list[tuple[float, Any]]:
        found: list[tuple[float, Any]] = []
        self.node.create_subscription(
            kind, topic, lambda message: found.append((time.monotonic(), message)), qos)
        return found

    def spin_while(self, process: subprocess.Popen, seconds: float = 40.0) -> int:
        """Listen until the replay ends; give its exit code."""
        deadline = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)
        for _ in range(20):
            self.executor.spin_once(timeout_sec=0.02)
        return process.poll() if process.poll() is not None else -1

    def replay(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, '-m', 'deltaworld_ros.cli', 'replay', *arguments, '--quiet'],
            env={**os.environ, 'ROS_DOMAIN_ID': str(self.domain)}, stderr=subprocess.PIPE,
            text=True)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with own_domain() as domain:
        listener = Listener(domain)
        yield listener
        listener.close()


def test_messages_and_timing_of_the_recording(listener: Listener, tmp_path: Path):
    bag = write_drive(tmp_path / 'bag', FRAMES, interval=0.1, focal_length=20.0)
    images = listener.subscribe(Image, '/camera/image')
    infos = listener.subscribe(CameraInfo, '/camera/camera_info', qos_profile_sensor_data)
    assert listener.spin_while(listener.replay(str(bag), '--wait', '20')) == 0
    assert [stamp_of(message) for _, message in images] == [
        START + i * 100_000_000 for i in range(11)]
    for (_, message), frame in zip(images, FRAMES, strict=True):
        assert (message.encoding, message.height, message.width) == ('rgb8', 24, 32)
        assert message.header.frame_id == 'camera'
        np.testing.assert_array_equal(np.frombuffer(message.data, np.uint8), frame.ravel())
    assert len(infos) == 11 and infos[0][1].k[0] == 20.0
    times = np.array([arrival for arrival, _ in images])
    assert times[-1] - times[0] == pytest.approx(1.0, abs=0.15)
    assert np.median(np.diff(times)) == pytest.approx(0.1, abs=0.03)


def test_rate_rename_and_new_stamps(listener: Listener, tmp_path: Path):
    bag = write_drive(tmp_path / 'bag', FRAMES, interval=0.1, focal_length=20.0,
                      storage='sqlite3', compressed=True)
    images = listener.subscribe(CompressedImage, '/front/image/compressed')
    infos = listener.subscribe(CameraInfo, '/front/camera_info')
    before = time.time_ns()
    assert listener.spin_while(listener.replay(
        str(bag), '--wait', '20', '--rate', '2', '--stamp', 'now',
        '--image-topic', '/front/image/compressed',
        '--camera-info-topic', '/front/camera_info')) == 0
    stamps = [stamp_of(message) for _, message in images]
    assert before < stamps[0] < time.time_ns()
    # Exactly the spacing of the recording at twice the speed, whatever the timing was.
    assert set(np.diff(stamps)) == {50_000_000}
    assert [stamp_of(message) for _, message in infos] == stamps
    assert images[-1][0] - images[0][0] == pytest.approx(0.5, abs=0.15)


def test_clock_follows_the_bag(listener: Listener, tmp_path: Path):
    bag = write_drive(tmp_path / 'bag', FRAMES, interval=0.1)
    clocks = listener.subscribe(Clock, '/clock')
    listener.subscribe(Image, '/camera/image')
    assert listener.spin_while(listener.replay(str(bag), '--clock', '--wait', '20')) == 0
    values = np.array([message.clock.sec * 10**9 + message.clock.nanosec
                       for _, message in clocks])
    assert len(values) > 30
    assert np.all(np.diff(values) >= 0)
    assert START <= values[0] < START + 200_000_000
    assert values[-1] == pytest.approx(START + 1_000_000_000, abs=250_000_000)


def test_loop_goes_on_until_it_is_interrupted(listener: Listener, tmp_path: Path):
    bag = write_drive(tmp_path / 'bag', FRAMES[:4], interval=0.05)
    images = listener.subscribe(Image, '/camera/image')
    process = listener.replay(str(bag), '--loop', '--stamp', 'now', '--wait', '20')
    deadline = time.monotonic() + 40
    while len(images) < 10 and time.monotonic() < deadline:
        listener.executor.spin_once(timeout_sec=0.02)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.wait(20)
    assert process.stderr is not None and 'Traceback' not in process.stderr.read()
    stamps = [stamp_of(message) for _, message in images]
    assert len(stamps) >= 10
    assert np.all(np.diff(stamps) > 0)  # the context of a forecast survives the seam


def test_a_ros1_bag_is_converted(listener: Listener, tmp_path: Path):
    store = get_typestore(Stores.ROS1_NOETIC)
    types = store.types
    with Rosbag1Writer(tmp_path / 'old.bag') as writer:
        images = writer.add_connection('/image', 'sensor_msgs/msg/Image', typestore=store)
        infos = writer.add_connection(
            '/camera_info', 'sensor_msgs/msg/CameraInfo', typestore=store)
        for index, frame in enumerate(FRAMES[:3]):
            stamp = START + index * 100_000_000
            header = types['std_msgs/msg/Header'](
                seq=index, frame_id='cam',
                stamp=types['builtin_interfaces/msg/Time'](*divmod(stamp, 1_000_000_000)))
            image = types['sensor_msgs/msg/Image'](header, 24, 32, 'rgb8', 0, 96, frame.ravel())
            info = types['sensor_msgs/msg/CameraInfo'](
                header, 24, 32, 'plumb_bob', np.zeros(5), np.arange(9.0), np.eye(3).ravel(),
                np.arange(12.0), 0, 0,
                types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False))
            writer.write(images, stamp, store.serialize_ros1(image, images.msgtype))
            writer.write(infos, stamp, store.serialize_ros1(info, infos.msgtype))
    heard = listener.subscribe(Image, '/image')
    calibrations = listener.subscribe(CameraInfo, '/camera_info')
    assert listener.spin_while(listener.replay(str(tmp_path / 'old.bag'), '--wait', '20')) == 0
    assert [stamp_of(message) for _, message in heard] == [
        START + i * 100_000_000 for i in range(3)]
    np.testing.assert_array_equal(
        np.frombuffer(heard[1][1].data, np.uint8), FRAMES[1].ravel())
    np.testing.assert_array_equal(calibrations[0][1].k, np.arange(9.0))


def test_nobody_listens(listener: Listener, tmp_path: Path):
    bag = write_drive(tmp_path / 'bag', FRAMES)
    process = listener.replay(str(bag), '--wait', '0.5')
    assert process.wait(40) == 1
    assert process.stderr is not None
    assert process.stderr.read() == \
        'deltaworld: /camera/image has 0 of 1 subscribers after 0.5 s\n'


def test_nobody_listens_without_waiting(listener: Listener, tmp_path: Path):
    bag = write_drive(tmp_path / 'bag', FRAMES[:2], interval=0.05, compressed=True)
    process = listener.replay(str(bag))
    assert process.wait(40) == 0 and process.stderr is not None
    [line] = process.stderr.read().splitlines()
    assert line.startswith('deltaworld: nobody subscribes to /camera/image/compressed.')
    assert '-p transport:=compressed -r image/compressed:=/camera/image/compressed' in line


@pytest.mark.parametrize('topic', ['/camera/0/image', '/RGB Camera/image', '/my-cam/image'])
def test_topics_that_ros_2_refuses_are_one_line(
        listener: Listener, tmp_path: Path, topic: str):
    from support.bags import image_message, write_bag
    bag = write_bag(tmp_path / 'bag', [(topic, START, image_message(START, FRAMES[0]))])
    process = listener.replay(str(bag))
    assert process.wait(40) == 1 and process.stderr is not None
    [line] = process.stderr.read().splitlines()
    assert f'{topic} is no topic name of ROS 2' in line
    assert line.endswith(f'give it another with --image-topic {ros_topic(topic)}')


def test_stamps_are_rewritten_in_place(tmp_path: Path):
    bag = write_drive(tmp_path / 'bag', FRAMES[:2], focal_length=9.0)
    with CameraMessages(bag) as messages:
        changed = [(message, with_stamp(message.data, 12_345_678_901)) for message in messages]
    assert len(changed) == 4
    for message, data in changed:
        assert read_stamp(message.data) in (START, START + 100_000_000)
        assert read_stamp(data) == 12_345_678_901
        assert data[:4] == message.data[:4] and data[12:] == message.data[12:]


@pytest.mark.parametrize('stamp', [-3 * 10**9 + 5, 0, 2**31 * 10**9 + 7, 2**32 * 10**9 - 1])
def test_stamps_before_1970_and_after_2038(stamp: int):
    from support.bags import STORE, image_message
    data = bytes(STORE.serialize_cdr(image_message(0, FRAMES[0]), 'sensor_msgs/msg/Image'))
    found = read_stamp(with_stamp(data, stamp))
    # ROS 2 has 32 bits with a sign for the seconds: later ones are told as earlier ones.
    assert found % (2**32 * 10**9) == stamp % (2**32 * 10**9)
    assert ros_time(stamp) == divmod(found, 10**9)


def test_a_pause_of_years_is_left_out(listener: Listener, tmp_path: Path):
    from support.bags import image_message, write_bag
    bag = write_bag(tmp_path / 'bag', [
        ('/camera/image', time, image_message(START + number, FRAMES[number]))
        for number, time in enumerate((0, START, START + 100_000_000, 2 * START))])
    images = listener.subscribe(Image, '/camera/image')
    assert listener.spin_while(listener.replay(str(bag), '--wait', '20')) == 0
    assert [stamp_of(message) - START for _, message in images] == [0, 1, 2, 3]


def test_only_one_camera_of_a_bag(tmp_path: Path):
    from support.bags import camera_info_message, image_message, write_bag
    bag = write_bag(tmp_path / 'bag', [
        (f'/{side}/{name}', START, message) for side in ('left', 'right') for name, message in (
            ('image', image_message(START, FRAMES[0])),
            ('camera_info', camera_info_message(START, 32, 24, 9.0)))])
    with CameraMessages(bag) as messages:
        assert len(messages.topics) == 4
    with CameraMessages(bag, '/right/image') as messages:
        assert sorted(messages.topics) == ['/right/camera_info', '/right/image']
        assert len(list(messages)) == 2


def test_the_sample_bag_is_what_its_readme_says():
    from deltaworld_ros.evaluate.demo import SAMPLE_BAG
    with BagFrames(SAMPLE_BAG) as bag:
        frames = list(bag)
    assert {frame.intrinsics[0, 0] for frame in frames if frame.intrinsics is not None} == {577}
    assert len(frames) == 126
    assert {frame.image.shape for frame in frames} == {(360, 640, 3)}
    assert set(np.diff([frame.stamp for frame in frames])) == {80_000_000}
    assert sum(path.stat().st_size for path in SAMPLE_BAG.iterdir()) < 4_000_000
    notices = (SAMPLE_BAG / 'LICENSES.md').read_text()
    assert 'Udacity' in notices and 'wompbreaker' in notices
