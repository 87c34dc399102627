# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Large images, other publishers, other topics, and what a user can get wrong at start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy')
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from support import large_images
from support.ros_session import ROOT, STRIDE_NS, Client, own_domain, running

pytestmark = pytest.mark.live

RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)


def replace_publisher(client: Client, qos: QoSProfile) -> None:
    client.node.destroy_publisher(client.images)
    client.images = client.node.create_publisher(Image, 'image', qos)


@pytest.mark.parametrize(('width', 'height'), [(1280, 720), (1920, 1080)])
def test_large_images_of_a_reliable_camera_arrive(
        tiny_bundle: Path, tmp_path: Path, width: int, height: int) -> None:
    with running(tmp_path / 'log', bundle=tiny_bundle, autostart=True) as client:
        client.wait(lambda: client.images.get_subscription_count() > 0, 'subscription')
        replace_publisher(client, RELIABLE)
        client.wait(lambda: client.process.lines('subscribed to anew, reliable'), 'the change')
        client.connect()
        image = client.image(width, height)
        received = 0
        # The fault that this is about loses nearly all in every round; a busy machine some in one.
        for _ in range(3):
            before = int(client.fresh_diagnostics()['images_received'])
            start = time.monotonic()
            for number in range(30):   # at 10 Hz
                client.stamp += 100_000_000
                image.header = client.header()
                client.images.publish(image)
                client.spin(lambda due=start + (number + 1) / 10: time.monotonic() >= due, 5.0)
            values = client.fresh_diagnostics()
            received = int(values['images_received']) - before
            print(f'{received} of 30 images arrived, {values["images_lost"]} were reported lost')
            if received >= 29:
                break
        assert received >= 29
        # The first of another size restarts nothing until it lasts: two are odd.
        assert int(values['images_accepted']) + int(values['images_dropped']) \
            + int(values['images_odd']) == int(values['images_received'])


def test_the_subscription_follows_the_publishers(tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path / 'log', bundle=tiny_bundle, autostart=True) as client:
        client.connect()   # best effort
        replace_publisher(client, RELIABLE)
        client.wait(lambda: client.process.lines('subscribed to anew, reliable'), 'reliability')
        client.connect()
        other = client.node.create_publisher(
            Image, 'image', QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
        client.wait(lambda: client.process.lines('subscribed to anew, best effort'),
                    'best effort, so that both are heard')
        client.node.destroy_publisher(other)


def test_other_topics_and_types_are_named(tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path / 'log', bundle=tiny_bundle, autostart=True) as client:
        client.wait(lambda: client.images.get_subscription_count() > 0, 'subscription')
        assert client.process.lines('images: /image (sensor_msgs/msg/Image)')
        assert client.process.lines('camera_info: /camera_info')
        client.node.destroy_publisher(client.images)
        client.images = client.node.create_publisher(Image, '/front/image', 1)
        client.wait(lambda: 'nobody publishes /image (images are on /front/image'
                    in client.diagnostics_text, 'another topic')
        compressed = client.node.create_publisher(CompressedImage, '/image/compressed', 1)
        client.wait(lambda: '/image/compressed is published: set transport to compressed'
                    in client.diagnostics_text, 'the other transport')
        client.node.destroy_publisher(compressed)
        client.node.create_publisher(CompressedImage, '/image', 1)
        client.wait(lambda: '/image is published as sensor_msgs/msg/CompressedImage'
                    in client.diagnostics_text, 'the other type')
        assert client.diagnostics_level == 1


def test_the_profile_brings_large_images_of_best_effort_cameras() -> None:
    with own_domain() as domain:
        os.environ['ROS_DOMAIN_ID'] = str(domain)
        assert large_images.count(profile=True) >= 0.95 * large_images.NUMBER


def start(*arguments: str, module: str = 'forecast_node') -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, '-m', f'deltaworld_ros.node.{module}', '--ros-args', *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)})


@pytest.mark.parametrize(('arguments', 'text'), [
    (['--params-file', '{folder}/flat.yaml'], 'Cannot have a value before ros__parameters'),
    (['--params-file', '{folder}/missing.yaml'], 'missing.yaml'),
    (['-r', '__ns:=robot1'], "Couldn't parse remap rule: '-r __ns:=robot1'"),
    (['-r', '__node:=front-cam'], "'-r __node:=front-cam'"),
    (['-r', 'image:=/a b'], "'-r image:=/a b'"),
    (['-p', 'output_width:=7'], 'parameter output_width is 7'),
])
def test_a_mistake_at_start_is_one_line(
        tmp_path: Path, arguments: list[str], text: str) -> None:
    (tmp_path / 'flat.yaml').write_text('/**:\n  image: 1\n')
    process = start(*(one.format(folder=tmp_path) for one in arguments))
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and 'Traceback' not in output
    [line] = [line for line in output.splitlines() if line.startswith('forecast_node: ')]
    assert text in line and '/src/' not in line


def test_a_misspelt_parameter_and_a_missing_start_are_told() -> None:
    process = start('-p', 'outputwidth:=64')
    assert process.stdout is not None
    output = ''
    for line in process.stdout:
        output += line
        if 'unconfigured' in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert 'parameter outputwidth is unknown and ignored; do you mean output_width?' in output
    assert 'unconfigured: run `ros2 lifecycle set /forecast configure`' in output


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('seconds', [0.3, 0.9, 1.5])
def test_an_interrupt_at_start_is_orderly(
        tiny_bundle: Path, number: signal.Signals, seconds: float) -> None:
    process = start('-p', 'autostart:=true', '-p', f'bundle:={tiny_bundle}', module='start')
    time.sleep(seconds)
    process.send_signal(number)
    output = process.communicate(timeout=60)[0]
    # Before Python itself has started, a signal ends it as any program.
    assert process.returncode in (0, -number) and 'Traceback' not in output


def test_wide_values_are_told_once_and_large_images_are_refused(
        tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path / 'log', bundle=tiny_bundle, autostart=True,
                 max_image_pixels=160 * 120) as client:

        def wide() -> Image:
            pixels = np.full((120, 160), 4000, np.uint16)
            return Image(header=client.header(), width=160, height=120, encoding='mono16',
                         step=320, data=pixels.tobytes())

        client.connect(wide)
        for _ in range(3):
            client.stamp += STRIDE_NS
            client.send(wide())
        assert len(client.process.lines('16 bits a channel, of which they use 12')) == 1
        client.stamp += STRIDE_NS
        client.images.publish(client.image(width=161))
        client.wait(lambda: client.process.lines('161x120 pixels is too large; at most 19200'),
                    'the refusal')
