# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure whether an overloaded node grows, and how old its outputs become.

The node runs in a process of its own and gets raw 720p images at 30 Hz, more than it can forecast
from, of a publisher in another process. This process listens to all fused maps and all futures of
the farthest lead. Each minute it prints the node's resident memory and the age of its outputs;
memory is compared between the second minute and the last one.

    python benchmarks/node_memory.py --minutes 15
"""

from __future__ import annotations

import argparse
import array
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from deltaworld_ros.evaluate.demo import own_domain

WIDTH, HEIGHT = 1280, 720
OUTPUTS = ('segmentation', 'depth', 'confidence', 'futures/segmentation', 'futures/depth')
PROFILE = Path(__file__).resolve().parents[1] / 'config' / 'fastdds_large_images.xml'
LIMIT = 0.01   # of growth, as a share


def publish(rate: float) -> None:
    """Publish a moving scene and its camera_info until interrupted."""
    rclpy.init()
    node = Node('camera')
    images = node.create_publisher(
        Image, 'image', QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE))
    cameras = node.create_publisher(CameraInfo, 'camera_info', 5)
    rng = np.random.default_rng(0)
    wide = cv2.resize(rng.integers(0, 255, (60, 120, 3), np.uint8), (WIDTH + 240, HEIGHT),
                      interpolation=cv2.INTER_CUBIC)
    frames = [array.array('B', wide[:, 8 * n:8 * n + WIDTH].tobytes()) for n in range(30)]
    image = Image(width=WIDTH, height=HEIGHT, encoding='bgr8', step=3 * WIDTH)
    camera = CameraInfo(width=WIDTH, height=HEIGHT)
    camera.k = [900.0, 0.0, WIDTH / 2, 0.0, 900.0, HEIGHT / 2, 0.0, 0.0, 1.0]
    started, number = time.monotonic(), 0
    while rclpy.ok():
        image.data = frames[number % len(frames)]
        image.header.frame_id = camera.header.frame_id = 'camera'
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        image.header.stamp.sec, image.header.stamp.nanosec = seconds, nanoseconds
        camera.header.stamp = image.header.stamp
        cameras.publish(camera)
        images.publish(image)
        number += 1
        # A late image is not made up for: a camera would have lost it.
        started = max(started + 1 / rate, time.monotonic() - 1 / rate)
        time.sleep(max(0.0, started - time.monotonic()))


def resident(process: int) -> int:
    """Return the resident memory of a process in bytes."""
    pages = Path(f'/proc/{process}/statm').read_text().split()[1]
    return int(pages) * os.sysconf('SC_PAGE_SIZE')


class Minute:
    """What was seen within a minute."""

    def __init__(self) -> None:
        self.memory: list[int] = []
        self.ages: list[float] = []
        self.forecasts = 0

    def take(self, message: String) -> None:
        """Take a message of `~/forecast_info`."""
        info = json.loads(message.data)
        self.ages.append(info['age'])
        self.forecasts += bool(info['weights'])

    def show(self, number: int) -> None:
        """Print the figures."""
        middle, late = np.percentile(self.ages, [50, 95]) if self.ages else (np.nan, np.nan)
        print(f'minute {number:3d}: {np.mean(self.memory) / 1e6:8.2f} MB '
              f'(at most {max(self.memory) / 1e6:8.2f}), {len(self.ages):4d} outputs, '
              f'{self.forecasts:4d} of them forecasts, age {1e3 * middle:4.0f} ms median, '
              f'{1e3 * late:4.0f} ms at 95 %', flush=True)


def watch(node: subprocess.Popen[bytes], minutes: int) -> list[Minute]:
    """Listen to the node for so many minutes after its first forecast."""
    rclpy.init()
    listener = Node('listener')
    minute, seen = Minute(), []
    for name in OUTPUTS:
        listener.create_subscription(
            Image, f'/forecast/lead_600ms/{name}', lambda message: None, 5, raw=True)
    listener.create_subscription(
        String, '/forecast/forecast_info', lambda message: minute.take(message), 5)
    while not minute.forecasts and node.poll() is None:
        rclpy.spin_once(listener, timeout_sec=0.1)
    for number in range(1, minutes + 1):
        minute = Minute()
        end = look = time.monotonic()
        end += 60.0
        while (now := time.monotonic()) < end and node.poll() is None:
            if now >= look:
                look += 1.0
                minute.memory.append(resident(node.pid))
            rclpy.spin_once(listener, timeout_sec=0.1)
        if node.poll() is not None:
            raise SystemExit('the node ended')
        minute.show(number)
        seen.append(minute)
    listener.destroy_node()
    rclpy.shutdown()
    return seen


def main() -> None:
    """Start the node and the camera, watch, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--minutes', type=int, default=15, help='3 or more')
    parser.add_argument('--rate', type=float, default=30.0, help='images a second')
    parser.add_argument('--bundle', default='street-lite0')
    parser.add_argument('--publish', action='store_true', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.publish:
        with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
            publish(arguments.rate)
        return
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    for name in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'):
        os.environ.setdefault(name, str(PROFILE))
    with own_domain() as domain:
        os.environ['ROS_DOMAIN_ID'] = str(domain)
        node = subprocess.Popen(
            [sys.executable, '-m', 'deltaworld_ros.node.forecast_node', '--ros-args', '-p',
             'autostart:=true', '-p', f'bundle:={arguments.bundle}', '--log-level', 'error'])
        camera = subprocess.Popen(
            [sys.executable, __file__, '--publish', '--rate', str(arguments.rate)])
        try:
            minutes = watch(node, max(3, arguments.minutes))
        finally:
            for process in (camera, node):
                process.send_signal(signal.SIGINT)
                process.wait(30)
    first, last = (float(np.mean(minute.memory)) for minute in (minutes[1], minutes[-1]))
    growth = last / first - 1
    print(f'{WIDTH}x{HEIGHT} at {arguments.rate:g} Hz: from minute 2 to minute {len(minutes)} '
          f'memory changed by {100 * growth:+.2f} %')
    sys.exit(growth > LIMIT)


if __name__ == '__main__':
    main()
