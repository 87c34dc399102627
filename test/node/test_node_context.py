# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What restarts the context of a running node, and what leaves it alone, over DDS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy')
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from support.ros_session import STRIDE_NS, Client, running

pytestmark = pytest.mark.live
SECOND = 10**9


@pytest.mark.parametrize(('step_ns', 'image', 'reason', 'odd'), [
    (-3 * SECOND, {}, 'the stamp went back', 'stamp before the newest'),
    (5 * SECOND, {}, 'a gap', ''),
    (STRIDE_NS, {'width': 96, 'height': 64}, 'the image source changed', 'another image source'),
    (STRIDE_NS, {'frame_id': 'other_camera'}, 'the image source changed', 'another image source'),
    (STRIDE_NS, {'encoding': 'bgr8'}, 'the image source changed', 'another image source'),
])
def test_lasting_changes_restart_the_context(
        raw: Client, step_ns: int, image: dict[str, Any], reason: str, odd: str) -> None:
    key, odd_key = f'context_restarts: {reason}', f'images_odd: {odd}'
    raw.infos.clear()   # where time went back, stamps come again
    raw.feed(6)
    before = raw.fresh_diagnostics()
    assert before['context_fill'] == '4 of 4'
    maps = raw.subscribe(Image, 'lead_200ms/segmentation')
    raw.feed_until(lambda: maps, 'a forecast')
    # A subscription to them may make the node answer the last image late.
    raw.wait(lambda: maps[-1].header.stamp == raw.header().stamp, 'the last forecast')
    maps.clear()
    raw.infos.clear()
    raw.stamp += step_ns - STRIDE_NS
    if odd:
        # What does not fit is left out until it lasts.
        for number in (1, 2):
            raw.stamp += STRIDE_NS
            raw.images.publish(raw.image(**image))
            raw.wait(lambda seen=number: int(raw.fresh_diagnostics().get(odd_key, 0))
                     == int(before.get(odd_key, 0)) + seen, 'count of the odd image')
            assert raw.diagnostics['context_fill'] == '4 of 4'
    raw.feed(1, **image)
    after = raw.fresh_diagnostics()
    assert int(after[key]) == int(before.get(key, 0)) + 1
    assert after['context_fill'] == '1 of 4'
    assert maps == []   # no forecast without a whole context
    [*_, line] = raw.process.lines(f'the context restarts: {reason}')
    assert '[WARN]' in line
    raw.feed(1, **image)
    raw.reset_context()


def test_single_odd_images_leave_the_context_alone(raw: Client) -> None:
    """One image in three comes twice, late, without a stamp, or from another camera."""
    raw.infos.clear()
    raw.feed(6)
    raw.subscribe(Image, 'lead_200ms/segmentation')
    before = raw.fresh_diagnostics()
    raw.infos.clear()
    newest = raw.stamp
    for number, change in enumerate((
            {'stamp': newest}, {'stamp': newest - STRIDE_NS // 3}, {'stamp': 0},
            {'frame_id': 'another'}), 1):
        good, raw.stamp = raw.stamp, int(change.get('stamp', raw.stamp + STRIDE_NS // 2))
        raw.images.publish(raw.image(frame_id=str(change.get('frame_id', 'camera'))))
        raw.wait(lambda seen=number: int(raw.diagnostics['images_odd'])
                 == int(before['images_odd']) + seen, f'count of odd image {number}')
        raw.stamp = good
        raw.feed(2)
    assert raw.fresh_diagnostics()['context_restarts'] == before['context_restarts']
    assert raw.diagnostics['context_fill'] == '4 of 4'
    assert all(len(json.loads(info.data)['leads']) == 4 for info in raw.infos[2:])


def test_reset_context_restarts(raw: Client) -> None:
    raw.reset_context()   # connects the service
    raw.feed(6)
    key = 'context_restarts: reset_context was called'
    before = int(raw.fresh_diagnostics().get(key, 0))
    assert raw.reset_context().success
    assert raw.fresh_diagnostics()['context_fill'] == '0 of 4'
    raw.feed(2)
    after = raw.fresh_diagnostics()
    assert int(after[key]) == before + 1 and after['context_fill'] == '2 of 4'


def test_the_clock_jumping_back_restarts(tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path / 'log', bundle=tiny_bundle, autostart=True,
                 use_sim_time=True) as client:
        clocks = client.node.create_publisher(Clock, '/clock', 10)
        client.wait(lambda: clocks.get_subscription_count() > 0, 'subscription to the clock')

        def clock_shows(seconds: int) -> bool:
            message = Clock()
            message.clock.sec = seconds
            clocks.publish(message)
            return client.spin(lambda: client.diagnostics_stamp == seconds * SECOND, 1.5)

        client.wait(lambda: clock_shows(1000), 'the simulated time')
        client.stamp = 999 * SECOND
        client.connect()
        client.feed(6)
        # The age is that of the simulated clock, which stands still.
        age = json.loads(client.infos[-1].data)['age']
        assert age == pytest.approx((1000 * SECOND - client.stamp) / SECOND, abs=1e-3)
        key = 'context_restarts: the clock jumped back'
        client.wait(lambda: clock_shows(1001), 'time going on')
        assert key not in client.diagnostics and client.diagnostics['context_fill'] == '4 of 4'
        client.wait(lambda: clock_shows(500), 'time going back')
        assert client.diagnostics[key] == '1' and client.diagnostics['context_fill'] == '0 of 4'
