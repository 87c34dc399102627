# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A slow, failing or hanging engine: the node reports and goes on, over DDS."""

from __future__ import annotations

import array
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from support.ros_session import STRIDE_NS, running, stamp_of_info

pytestmark = pytest.mark.live
SECOND = 10**9


@pytest.mark.parametrize('stage', ['features', 'delta', 'rollout', 'decode'])
def test_values_that_are_not_finite_are_never_published(
        tiny_bundle: Path, tmp_path: Path, stage: str) -> None:
    with running(tmp_path / 'log', script='test/support/difficult_engine.py',
                 environment={'NOT_FINITE': stage}, bundle=tiny_bundle,
                 autostart=True) as client:
        client.connect()
        topics = [client.subscribe(Image, f'lead_{lead}ms/{name}') for lead in (0, 200)
                  for name in ('segmentation', 'depth')]
        client.feed_until(lambda: all(topics), 'forecasts')
        client.wait(lambda: all(one[-1].header.stamp == client.header().stamp for one in topics),
                    'the last forecast')
        for messages in topics:
            messages.clear()
        client.infos.clear()
        # The engine's results are not finite while the image is white.
        for number in (1, 2, 3):
            client.stamp += STRIDE_NS
            white = client.image()
            white.data = array.array('B', b'\xff' * len(white.data))
            client.images.publish(white)
            client.wait(lambda seen=number: client.diagnostics.get('engine_failures') == str(seen),
                        f'report of failure {number}')
        assert client.diagnostics_level == 2
        assert 'values that are not finite' in client.diagnostics_text
        assert not any(topics) and not client.infos
        client.feed_until(lambda: all(topics), 'forecasts of a sound engine')
        assert client.fresh_diagnostics()['engine_failures'] == '3'
        assert 'the engine failed' not in client.diagnostics_text


def test_a_hanging_engine_is_an_error_and_can_be_left(tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path / 'log', script='test/support/difficult_engine.py',
                 environment={'ROLLOUT_SECONDS': '600'}, bundle=tiny_bundle,
                 autostart=True) as client:
        client.connect()
        client.subscribe(Image, 'lead_200ms/segmentation')
        client.wait(lambda: client.node.count_publishers('/forecast/lead_200ms/segmentation'),
                    'the topic')

        def hangs() -> bool:
            client.stamp += STRIDE_NS
            client.images.publish(client.image())
            return client.spin(lambda: 'in work for' in client.diagnostics_text, 0.2)

        client.wait(hangs, 'report of the hanging engine')
        assert client.diagnostics_level == 2 and float(client.diagnostics['in_work_s']) > 1
        assert client.change_state('deactivate') and client.state == 'inactive'
        assert len(client.process.lines('the engine did not finish its frame in time')) == 1
        assert not client.change_state('activate')   # with the engine that hangs
        assert client.change_state('cleanup') and client.change_state('configure')
        assert client.change_state('activate') and client.state == 'active'
        client.infos.clear()
        client.wait(hangs, 'report of the hanging engine')


def test_an_overloaded_node_still_forecasts(tiny_bundle: Path, tmp_path: Path) -> None:
    """A forecast takes three strides: the frames of that time give the next one its context."""
    with running(tmp_path / 'log', script='test/support/difficult_engine.py',
                 environment={'ROLLOUT_SECONDS': '0.6'}, bundle=tiny_bundle,
                 autostart=True) as client:
        client.connect()
        client.subscribe(Image, 'lead_600ms/segmentation')
        start, published = time.time_ns(), 0
        forecasts: list[dict[str, Any]] = []
        while len(forecasts) < 5 and published < 300:
            client.spin(lambda due=start + published * SECOND // 10: time.time_ns() >= due, 5.0)
            client.stamp = start + published * SECOND // 10
            client.images.publish(client.image())
            published += 1
            infos = [json.loads(info.data) for info in client.infos
                     if stamp_of_info(info) >= start]
            forecasts = [info for info in infos if len(info['leads']) > 1]
        first = infos.index(forecasts[0])
        assert len(forecasts) == 5 and infos[first:] == forecasts   # no frame without one after it
        for info in forecasts:
            assert len(info['context_stamps']) == 4
            assert 0.1 <= min(np.diff(info['context_stamps'])) + 1e-3
            assert max(np.diff(info['context_stamps'])) <= 0.3 + 1e-3
        values = client.fresh_diagnostics()
        assert int(values['forecasts_published']) >= 5 and values['context_breaks'] == '0'
        assert int(values['images_for_context_only']) >= 4 and int(values['images_dropped']) > 0


def test_a_failing_engine_does_not_end_the_node(tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path / 'log', script='test/support/difficult_engine.py',
                 environment={'ROLLOUT_SECONDS': '0'}, bundle=tiny_bundle,
                 autostart=True) as client:
        client.connect()
        maps = client.subscribe(Image, 'lead_200ms/segmentation')
        client.feed_until(lambda: maps, 'a forecast')
        client.stamp += STRIDE_NS
        white = client.image()
        white.data = array.array('B', b'\xff' * len(white.data))
        for number in ('1', '2'):
            client.images.publish(white)
            client.wait(lambda seen=number: client.diagnostics.get('engine_failures') == seen,
                        f'report of failure {number}')
        assert client.diagnostics_level == 2
        assert 'the engine failed: RuntimeError: the device is on fire' in client.diagnostics_text
        lines = client.process.lines('the device is on fire')
        assert len(lines) == 1 and '[ERROR]' in lines[0]   # the same line is not repeated at once
        maps.clear()
        client.feed_until(lambda: maps, 'a forecast after the failure')
        assert client.fresh_diagnostics()['engine_failures'] == '2'
        assert 'the engine failed' not in client.diagnostics_text


def test_a_device_out_of_memory_does_not_end_the_node(tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path / 'log', script='test/support/limited_engine.py', bundle=tiny_bundle,
                 autostart=True) as client:
        client.connect()
        maps = client.subscribe(Image, 'lead_200ms/segmentation')
        client.feed_until(lambda: maps, 'a forecast in smaller batches')
        [line] = client.process.lines('at a time from now on')
        assert '2 at a time' in line and '[INFO]' in line
        client.fresh_diagnostics()
        assert 'the engine failed' not in client.diagnostics_text
        # From a white image on, not even one future fits.
        failures = 0
        for level in (b'\xff', b'\x5a', b'\x5a'):
            client.stamp += STRIDE_NS
            message = client.image()
            message.data = array.array('B', level * len(message.data))
            client.images.publish(message)
            failures += 1
            client.wait(
                lambda seen=str(failures): client.diagnostics.get('engine_failures') == seen,
                f'report of failure {failures}')
            assert client.diagnostics_level == 2
            assert 'Failed to allocate memory' in client.diagnostics_text
        assert len(client.process.lines('a frame could not be computed')) == 1
        maps.clear()
        client.stamp += STRIDE_NS
        black = client.image()
        black.data = array.array('B', bytes(len(black.data)))
        client.send(black)
        client.feed_until(lambda: maps, 'a forecast once there is memory again')
        assert client.fresh_diagnostics()['engine_failures'] == '3'
        assert 'the engine failed' not in client.diagnostics_text
        assert 'Traceback' not in client.process.log


def test_no_memory_at_configure_is_an_error_state(tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path / 'log', script='test/support/limited_engine.py',
                 environment={'MAX_FUTURES': '0'}, bundle=tiny_bundle) as client:
        assert not client.change_state('configure')
        assert client.state == 'unconfigured'
        client.fresh_diagnostics()
        assert client.diagnostics_level == 2
        assert 'configure failed: no engine can run' in client.diagnostics_text
        assert 'Failed to allocate memory' in client.diagnostics_text
        assert 'Traceback' not in client.process.log


def test_a_slow_model_drops_frames_and_stays_fresh(tiny_bundle: Path, tmp_path: Path) -> None:
    """A model of 300 ms with a camera of 30 Hz: every output is from a frame just then new."""
    with running(tmp_path / 'log', script='test/support/difficult_engine.py',
                 environment={'ROLLOUT_SECONDS': '0.3'}, bundle=tiny_bundle,
                 autostart=True) as client:
        client.connect()
        maps: list[tuple[float, Image]] = []
        client.node.create_subscription(
            Image, '/forecast/lead_600ms/segmentation',
            lambda message: maps.append((time.time(), message)), qos_profile_sensor_data)
        start = time.time_ns()
        published = 0
        while len(maps) < 8 and published < 1800:
            client.spin(lambda due=start + published * SECOND // 30: time.time_ns() >= due, 5.0)
            client.stamp = time.time_ns()
            client.images.publish(client.image())
            published += 1
        ages = [arrived - stamp_of(message) * 1e-9 for arrived, message in maps]
        print(f'ages at the subscriber: {min(ages):.3f} to {max(ages):.3f} s')
        assert len(ages) == 8 and min(ages) > 0.3

        # In the end, everything that came was either computed or dropped.
        def settled() -> bool:
            received, accepted, dropped = (
                int(client.diagnostics[f'images_{key}'])
                for key in ('received', 'accepted', 'dropped'))
            return received == accepted + dropped and dropped > 0

        client.wait(settled, 'account of every frame')
        infos = [json.loads(info.data) for info in client.infos]
        forecasts = [info for info in infos if len(info['leads']) > 1]
        assert len(forecasts) >= 7 and max(info['age'] for info in forecasts) < 0.7
        dropped = int(client.diagnostics['images_dropped'])
        print(f'{published} images published, {len(forecasts)} forecasts, {dropped} dropped')
        # Nine images come in the 300 ms of a forecast; DDS itself may lose some on a busy machine.
        assert len(forecasts) < dropped < published
        stamps = [stamp_of_info(info) for info in client.infos]
        assert stamps == sorted(set(stamps))


def stamp_of(message: Image) -> int:
    return int(message.header.stamp.sec) * SECOND + int(message.header.stamp.nanosec)
