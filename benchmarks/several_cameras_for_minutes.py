# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Run the node with several cameras for minutes, and check that each accepted image has its output.

Each camera is a process of its own that publishes 640x384 images. After 2/5 of the time the last
one is killed, after 3/5 it comes back. A forecast of the last lead and forecast_info are listened
to. It ends with 1 where an output is missing, doubled or of no image, where another camera gets no
output while one is dead, where that one does not come back, or where the node's memory, threads
or files grow. On a busy machine each part of the run waits for what must come.

    python benchmarks/several_cameras_for_minutes.py --cameras 2 --seconds 600
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String

from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.node.messages import image_message

# As in the launch files: without it Fast DDS loses large images.
PROFILE = Path(__file__).resolve().parents[1] / 'config' / 'fastdds_large_images.xml'
WIDTH, HEIGHT = 640, 384
COUNTS = ('images_received', 'images_accepted', 'outputs_published', 'forecasts_published')
SAMPLE_PERIOD = 2.0   # s between looks at the node
GROWTH = 32 * 2**20   # bytes between the half of the run and its end that are still none
SETTLED = 5.0         # s without a change of the counts after the last image
PATIENCE = 120.0      # s within which what must come has come, on a busy machine too


def publish(camera: str, rate: float) -> None:
    """Publish images of a scene that moves past, until interrupted."""
    rclpy.init()
    node = rclpy.create_node(f'camera_{camera}')
    images = node.create_publisher(Image, f'{camera}/image', qos_profile_sensor_data)
    infos = node.create_publisher(CameraInfo, f'{camera}/camera_info', qos_profile_sensor_data)
    small = np.random.default_rng(0).integers(0, 255, (24, 80, 3), np.uint8)
    wide = small.repeat(HEIGHT // 24, 0).repeat(16, 1)
    number = 0

    def shoot() -> None:
        nonlocal number
        number += 1
        header = Header(frame_id=camera, stamp=node.get_clock().now().to_msg())
        left = 4 * number % (wide.shape[1] - WIDTH)
        images.publish(image_message(
            header, np.ascontiguousarray(wide[:, left:left + WIDTH]), 'bgr8'))
        infos.publish(CameraInfo(
            header=header, width=WIDTH, height=HEIGHT,
            k=[450., 0., 319.5, 0., 450., 191.5, 0., 0., 1.]))

    node.create_timer(1 / rate, shoot)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass


@dataclass
class Heard:
    """What came from one camera's outputs: stamps (ns), and when (s) each came."""

    infos: Counter[int] = field(default_factory=Counter)
    forecasts: set[int] = field(default_factory=set)   # those of `infos` with a forecast
    depths: Counter[int] = field(default_factory=Counter)
    moments: list[float] = field(default_factory=list)
    diagnostics: dict[str, str] = field(default_factory=dict)
    made_at: float = 0.0           # s, of the newest diagnostics
    unchanged_since: float = 0.0   # s, of their counts

    def outputs(self, begin: float, end: float = float('inf')) -> list[float]:
        """Return the moments of outputs between two moments."""
        return [moment for moment in self.moments if begin < moment < end]


class Listener:
    """Hears all cameras of the node."""

    def __init__(self, cameras: list[str], lead_ms: int) -> None:
        self.heard = {camera: Heard() for camera in cameras}
        self.node = rclpy.create_node('listener')
        self._topics = []
        for camera, heard in self.heard.items():
            self._topics += [self.node.create_subscription(
                String, f'forecast/{camera}/forecast_info', self._info(heard), 20),
                self.node.create_subscription(
                    Image, f'forecast/{camera}/lead_{lead_ms}ms/depth', self._depth(heard), 20)]
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._diagnose, 10)

    def spin_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Hear until a condition holds; False where it does not in time."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            rclpy.spin_once(self.node, timeout_sec=0.05)
        return True

    def connected(self) -> bool:
        """Say whether every topic has its publisher, which then knows of this listener."""
        return all(self.node.count_publishers(one.topic_name) for one in self._topics)

    def _info(self, heard: Heard) -> Callable[[String], None]:
        def take(message: String) -> None:
            info = json.loads(message.data)
            stamp = info['stamp']['sec'] * 10**9 + info['stamp']['nanosec']
            heard.infos[stamp] += 1
            if info['leads']:
                heard.forecasts.add(stamp)
            heard.moments.append(time.monotonic())
        return take

    def _depth(self, heard: Heard) -> Callable[[Image], None]:
        def take(message: Image) -> None:
            stamp = message.header.stamp
            heard.depths[stamp.sec * 10**9 + stamp.nanosec] += 1
        return take

    def _diagnose(self, message: DiagnosticArray) -> None:
        for status in message.status:
            camera = status.name.rpartition(' ')[2]
            if camera in self.heard:
                heard = self.heard[camera]
                before, heard.diagnostics = heard.diagnostics, {
                    pair.key: pair.value for pair in status.values}
                stamp = message.header.stamp
                heard.made_at = stamp.sec + 1e-9 * stamp.nanosec
                if any(before.get(name) != heard.diagnostics[name] for name in COUNTS):
                    heard.unchanged_since = heard.made_at


def usage(process: int) -> tuple[int, int, int]:
    """Return resident bytes, threads and open files of a process."""
    folder = Path(f'/proc/{process}')
    pages = int((folder / 'statm').read_text().split()[1])
    return (pages * os.sysconf('SC_PAGE_SIZE'), len(list((folder / 'task').iterdir())),
            len(list((folder / 'fd').iterdir())))


@contextmanager
def started(*words: str, log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python program with shared memory for its images, and interrupt it at the end."""
    environment = {**os.environ, **dict.fromkeys(
        ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'), str(PROFILE))}
    with open(log or os.devnull, 'w') as output:
        process = subprocess.Popen(
            [sys.executable, *words], stdout=output, stderr=output, env=environment)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(30)


def run(arguments: argparse.Namespace, log: Path) -> dict[str, Any]:
    """Run the cameras and return what was seen."""
    cameras = [f'camera{number}' for number in range(1, arguments.cameras + 1)]
    lead_ms = round(1000 * load_bundle(arguments.bundle).manifest.leads[-1])
    listener = Listener(cameras, lead_ms)
    heard, seconds = listener.heard, arguments.seconds
    samples: list[tuple[int, int, int]] = []

    def camera(name: str) -> Any:
        return started(__file__, '--publish', name, '--rate', str(arguments.rate))

    def hear(names: list[str], duration: float) -> None:
        """Hear for a time, and on until these cameras have outputs of it."""
        begin = time.monotonic()
        end, latest = begin + duration, begin + duration + PATIENCE
        while time.monotonic() < end or (time.monotonic() < latest and not all(
                heard[name].outputs(begin) for name in names)):
            listener.spin_until(lambda: False, SAMPLE_PERIOD)
            samples.append(usage(node.pid))

    with started('-m', 'deltaworld_ros.node.forecast_node', '--ros-args',
                 '-p', f'bundle:={arguments.bundle}', '-p', 'autostart:=true',
                 '-p', f'cameras:={" ".join(cameras)}', log=log) as node:
        if not listener.spin_until(listener.connected, PATIENCE):
            raise SystemExit(f'no node within {PATIENCE:g} s:\n{log.read_text()}')
        begun = time.monotonic()
        last = camera(cameras[-1])
        process = last.__enter__()
        others = [camera(name) for name in cameras[:-1]]
        for other in others:
            other.__enter__()
        try:
            if not listener.spin_until(
                    lambda: all(one.depths for one in heard.values()), PATIENCE):
                raise SystemExit(f'no outputs within {PATIENCE:g} s:\n{log.read_text()}')
            hear(cameras, 0.4 * seconds)
            process.kill()
            process.wait()
            killed = time.monotonic()
            hear(cameras[:-1], 0.2 * seconds)
            revived = time.monotonic()
            last = camera(cameras[-1])
            last.__enter__()
            hear(cameras, 0.4 * seconds)
        finally:
            for one in (last, *others):
                one.__exit__(None, None, None)
        ended, clock = time.monotonic(), time.time()
        # Until diagnostics have counted everything that was worked on.
        listener.spin_until(lambda: all(
            one.made_at > max(clock, one.unchanged_since) + SETTLED
            for one in heard.values()), PATIENCE)
    half = samples[len(samples) // 2:]
    report: dict[str, Any] = {
        'seconds': round(ended - begun, 1), 'rate_hz': arguments.rate,
        'memory_mb': [round(one[0] / 1e6, 1) for one in (samples[0], half[0], samples[-1])],
        'threads': [samples[0][1], half[0][1], samples[-1][1]],
        'files': [samples[0][2], half[0][2], samples[-1][2]], 'cameras': {}, 'faults': []}
    faults: list[str] = report['faults']
    if samples[-1][0] - half[0][0] > GROWTH:
        faults.append(f'memory grew from {half[0][0]} to {samples[-1][0]} bytes')
    for name, place in (('threads', 1), ('open files', 2)):
        if samples[-1][place] > half[0][place] + 2:
            faults.append(f'{name} grew from {half[0][place]} to {samples[-1][place]}')
    for name, one in heard.items():
        report['cameras'][name] = judge(name, one, faults)
        alone = one.outputs(killed, revived)
        report['cameras'][name]['outputs_while_one_is_dead'] = len(alone)
        if name != cameras[-1] and not alone:
            faults.append(f'{name}: had no output while {cameras[-1]} was dead')
    if not heard[cameras[-1]].outputs(revived):
        faults.append(f'{cameras[-1]}: did not come back')
    return report


def judge(name: str, heard: Heard, faults: list[str]) -> dict[str, Any]:
    """Compare what was heard of a camera with what the node counted; add to `faults`."""
    def number(key: str) -> int:
        return int(heard.diagnostics[key])

    due = (number('images_accepted') - number('images_for_context_only')
           - number('engine_failures'))
    if len(heard.infos) != due:
        faults.append(f'{name}: {due} images were computed, {len(heard.infos)} had outputs')
    missing = heard.forecasts ^ heard.depths.keys()
    if missing:
        faults.append(f'{name}: {len(missing)} forecasts without depth, or depth without one')
    if max([*heard.infos.values(), *heard.depths.values()], default=0) > 1:
        faults.append(f'{name}: outputs came twice')
    return {
        'images_received': number('images_received'), 'images_dropped': number('images_dropped'),
        'images_lost': number('images_lost'), 'accepted': due, 'outputs': len(heard.infos),
        'forecasts': len(heard.depths), 'engine_failures': number('engine_failures'),
        'context_restarts': number('context_restarts'),
        'total_p50_ms': float(heard.diagnostics['total_p50_ms']),
        'total_p95_ms': float(heard.diagnostics['total_p95_ms'])}


def main() -> None:
    """Run it, print what was seen, and end with 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--cameras', type=int, default=2)
    parser.add_argument('--seconds', type=float, default=600.0)
    parser.add_argument('--rate', type=float, default=10.0, help='images of a camera in a second')
    parser.add_argument('--bundle', default='street-lite0')
    parser.add_argument('--publish', metavar='CAMERA', help='only be this camera')
    arguments = parser.parse_args()
    if arguments.publish:
        publish(arguments.publish, arguments.rate)
        return
    rclpy.init()
    with tempfile.TemporaryDirectory() as folder:
        report = run(arguments, Path(folder) / 'node.log')
    print(json.dumps(report, indent=1))
    sys.exit(1 if report['faults'] else 0)


if __name__ == '__main__':
    main()
