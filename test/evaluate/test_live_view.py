# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The live view without ROS, seen by a WebSocket client as Foxglove is one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.bags import START, image_message, write_bag, write_drive
from support.tiny_bundle import fading_frames

from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.evaluate.live_view import IMAGE_TOPIC

foxglove = pytest.importorskip('foxglove', reason='pip install "deltaworld_ros[view]"')
websockets = pytest.importorskip('websockets.sync.client', reason='pip install websockets')

ROOT = Path(__file__).resolve().parents[2]
LAYOUT = ROOT / 'config' / 'foxglove_view_layout.json'
SECONDS = 60.0


@contextmanager
def serving(log: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a command of the live view; give its process and its address."""
    with log.open('w') as output:
        process = subprocess.Popen(
            [sys.executable, '-m', 'deltaworld_ros.cli', *arguments, '--port', '0'],
            cwd=log.parent, stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONUNBUFFERED': '1'})
    try:
        deadline = time.monotonic() + SECONDS
        while not (found := re.search(r'ws://[\d.]+:\d+', log.read_text())):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield process, found[0]
    finally:
        process.terminate()
        process.wait(SECONDS)


def channels_of(socket: Any) -> dict[str, int]:
    """Read what a server offers: topics and the numbers of their channels."""
    channels: dict[str, int] = {}
    while IMAGE_TOPIC not in channels or len(channels) < 13:
        message = socket.recv(timeout=SECONDS)
        if isinstance(message, str):
            for channel in json.loads(message).get('channels', []):
                channels[channel['topic']] = channel['id']
                assert channel['schemaName'] == 'foxglove.RawImage'
    return channels


def subscribe(socket: Any, channels: dict[str, int], topics: list[str]) -> None:
    socket.send(json.dumps({'op': 'subscribe', 'subscriptions': [
        {'id': number, 'channelId': channels[topic]} for number, topic in enumerate(topics)]}))


def pictures(socket: Any, count: int) -> dict[int, list[bytes]]:
    """Collect messages by subscription until each of so many has three."""
    found: dict[int, list[bytes]] = {number: [] for number in range(count)}
    while min(map(len, found.values())) < 3:
        message = socket.recv(timeout=SECONDS)
        if isinstance(message, bytes) and message[0] == 1:
            number, _ = struct.unpack_from('<IQ', message, 1)
            found[number].append(message[13:])
    return found


def layout_topics() -> list[str]:
    panels = json.loads(LAYOUT.read_text(encoding='utf-8'))['configById']
    return [panel['imageMode']['imageTopic'] for panel in panels.values()]


def test_a_recording_is_seen_without_ros(tiny_bundle: Path, tmp_path: Path) -> None:
    manifest = load_bundle(tiny_bundle).manifest
    bag = write_drive(tmp_path / 'bag', fading_frames(manifest, 20), interval=0.2)
    with serving(tmp_path / 'log', 'replay', str(bag), '--view', '--bundle', str(tiny_bundle),
                 '--rate', '2') as (process, address):
        # It waits for somebody to look.
        time.sleep(1.0)
        assert process.poll() is None
        with websockets.connect(
                address, subprotocols=['foxglove.sdk.v1'], max_size=None) as socket:
            channels = channels_of(socket)
            leads = ('lead_0ms', 'lead_200ms', 'lead_400ms', 'lead_600ms')
            assert set(channels) == {IMAGE_TOPIC, *(
                f'/forecast/{lead}/{kind}' for lead in leads
                for kind in ('view', 'segmentation', 'depth'))}
            topics = layout_topics()
            assert topics and set(topics) <= set(channels)
            subscribe(socket, channels, topics)
            seen = pictures(socket, len(topics))
        for number, topic in enumerate(topics):
            # The picture moves: the drive fades, and its forecasts do.
            assert len(set(seen[number])) == len(seen[number]) >= 3, topic
            assert b'rgb8' in seen[number][0] and b'camera' in seen[number][0]
        image = seen[topics.index(IMAGE_TOPIC)][0]
        assert len(image) >= 3 * manifest.image_width * manifest.image_height
        assert process.wait(SECONDS) == 0     # the recording ends


def test_the_demo_goes_on_until_it_is_ended(tiny_bundle: Path, tmp_path: Path) -> None:
    manifest = load_bundle(tiny_bundle).manifest
    bag = write_drive(tmp_path / 'bag', fading_frames(manifest, 6), interval=0.05)
    with serving(tmp_path / 'log', 'demo', '--view', '--bag', str(bag), '--bundle',
                 str(tiny_bundle)) as (process, address):
        with websockets.connect(
                address, subprotocols=['foxglove.sdk.v1'], max_size=None) as socket:
            subscribe(socket, channels_of(socket), [IMAGE_TOPIC])
            found: list[bytes] = []
            while len(found) < 10:     # more than the recording has
                message = socket.recv(timeout=SECONDS)
                if isinstance(message, bytes):
                    found.append(message)
        assert process.poll() is None


def test_stamps_that_jump_hold_nothing_up(tiny_bundle: Path, tmp_path: Path) -> None:
    """A clock that is set ahead by years, back again, and to before 1970."""
    closed = pytest.importorskip('websockets.exceptions').ConnectionClosed
    frame = fading_frames(load_bundle(tiny_bundle).manifest, 1)[0]
    starts = [START, START + 3 * 10**17, START + 10**10, -10**11]
    stamps = [start + number * 10**8 for start in starts for number in range(8)]
    bag = write_bag(tmp_path / 'bag', [
        ('/camera/image', START + number * 10**8, image_message(stamp, frame))
        for number, stamp in enumerate(stamps)], 'mcap')
    with serving(tmp_path / 'log', 'replay', str(bag), '--view', '--bundle',
                 str(tiny_bundle)) as (process, address):
        with websockets.connect(
                address, subprotocols=['foxglove.sdk.v1'], max_size=None) as socket:
            subscribe(socket, channels_of(socket), [IMAGE_TOPIC])
            times = set()
            with contextlib.suppress(closed):
                while True:
                    message = socket.recv(timeout=SECONDS)
                    if isinstance(message, bytes) and message[0] == 1:
                        times.add(struct.unpack_from('<IQ', message, 1)[1])
        assert process.wait(SECONDS) == 0, (tmp_path / 'log').read_text()
    for start in starts[:3]:
        assert any(start <= time < start + 8 * 10**8 for time in times), start
    assert 0 in times   # all that Foxglove can say of what was before 1970


def test_mistakes_are_one_line(tiny_bundle: Path, tmp_path: Path) -> None:
    with serving(tmp_path / 'log', 'demo', '--view', '--bundle', str(tiny_bundle)) as (_, address):
        again = subprocess.run(
            [sys.executable, '-m', 'deltaworld_ros.cli', 'demo', '--view', '--bundle',
             str(tiny_bundle), '--port', address.rsplit(':', 1)[1]],
            cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS,
            env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert again.returncode == 1 and 'cannot be served on' in again.stderr
    assert 'Traceback' not in again.stderr
