# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several cameras in one node, over DDS: outputs of each, and one that stops."""

from __future__ import annotations

import array
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy')
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image
from std_msgs.msg import String
from support.ros_session import Client, NodeProcess, own_domain, running, stamp_of_info

pytestmark = pytest.mark.live
NAMES = ('front', 'left')


def test_each_camera_is_served_and_one_may_stop(tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path / 'log', bundle=tiny_bundle, autostart=True,
                 cameras='"front left"') as client:
        images = {name: client.node.create_publisher(
            Image, f'{name}/image', 5) for name in NAMES}   # reliable: none is lost
        depths = {name: client.subscribe(Image, f'{name}/lead_400ms/depth') for name in NAMES}
        infos = {name: client.subscribe(String, f'{name}/forecast_info') for name in NAMES}
        rates: dict[str, str] = {}
        client.node.create_subscription(DiagnosticArray, '/diagnostics', lambda message: (
            rates.update({one.name: pair.value for one in message.status
                          for pair in one.values if pair.key == 'input_rate_hz'})), 10)
        client.wait(lambda: all(one.get_subscription_count() for one in images.values()), 'inputs')

        def feed(names: tuple[str, ...]) -> None:
            client.stamp += 200_000_000
            for name in names:
                images[name].publish(client.image(frame_id=f'{name}_camera'))
            client.spin(lambda: all(answered(infos[name], client) for name in names), 2.0)

        def feed_until(names: tuple[str, ...], condition: Callable[[], bool]) -> None:
            deadline = time.monotonic() + 60
            while not condition():
                assert time.monotonic() < deadline, client.process.log
                feed(names)

        feed_until(NAMES, lambda: all(depths.values()))
        assert {name: messages[-1].header.frame_id for name, messages in depths.items()} == {
            'front': 'front_camera', 'left': 'left_camera'}, client.process.log

        # The left camera stops: the front goes on, and diagnostics tell them apart.
        count = len(depths['front'])
        rates.clear()

        def stopped() -> bool:
            return (len(depths['front']) > count + 3 and rates.get('forecast: left') == '0.00'
                    and float(rates['forecast: front']) > 0)

        feed_until(('front',), stopped)

        # It comes back, and so do its forecasts.
        depths['left'].clear()
        feed_until(NAMES, lambda: bool(depths['left']))
        assert not client.process.lines('Traceback')


def test_a_camera_whose_graphs_hang_leaves_the_others_theirs(
        tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path / 'log', script='test/support/difficult_engine.py',
                 environment={'HANG_ON_WHITE': '1'}, bundle=tiny_bundle, autostart=True,
                 engine='onnxruntime-cpu', cameras='"front left"') as client:
        images = {name: client.node.create_publisher(
            Image, f'{name}/image', 5) for name in NAMES}
        infos = client.subscribe(String, 'front/forecast_info')
        client.wait(lambda: all(one.get_subscription_count() for one in images.values()), 'inputs')
        while not infos:   # then both directions are connected
            client.stamp += 200_000_000
            images['front'].publish(client.image())
            client.spin(lambda: bool(infos), 1.0)
        white = client.image()
        white.data = array.array('B', b'\xff' * len(white.data))
        images['left'].publish(white)
        for _ in range(8):   # longer than the mailbox of one camera
            client.stamp += 200_000_000
            images['front'].publish(client.image())
            client.wait(lambda: answered(infos, client), 'the front camera')


def answered(infos: list[Any], client: Client) -> bool:
    return any(stamp_of_info(info) == client.stamp for info in infos)


@pytest.mark.parametrize(('parameters', 'says'), [
    ({'cameras': '"front front"'}, 'different names'),
    ({'cameras': '"lead_1"'}, 'not with lead_'), ({'cameras': '"a/b"'}, 'letters'),
    ({'cameras': '"a b"', 'camera_pose': '"0 0 1 0 0 0"'}, '1 poses for 2 cameras')])
def test_names_that_cannot_be_are_one_line(
        tiny_bundle: Path, tmp_path: Path, parameters: dict[str, str], says: str) -> None:
    with own_domain() as domain:
        process = NodeProcess(domain, tmp_path / 'log', bundle=tiny_bundle, **parameters)
        assert process.process.wait(60) == 1
    assert says in process.log and process.log.count('\n') == 1
