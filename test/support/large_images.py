# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Count how many raw 720p images of a best-effort publisher reach another process.

Without and with `config/fastdds_large_images.xml`, 30 images each, 10 a second.
"""

from __future__ import annotations

import array
import os
import subprocess
import sys
import time
from pathlib import Path

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

PROFILE = Path(__file__).resolve().parents[2] / 'config' / 'fastdds_large_images.xml'
QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
NUMBER = 30


def publish() -> None:
    """Publish the images once somebody listens."""
    rclpy.init()
    node = Node('camera')
    publisher = node.create_publisher(Image, 'large_image', QOS)
    while not publisher.get_subscription_count():
        time.sleep(0.05)
    time.sleep(0.5)   # the other side needs to find this one, too
    image = Image(width=1280, height=720, encoding='rgb8', step=3840)
    image.data = array.array('B', bytes(720 * 3840))
    for _ in range(NUMBER):
        publisher.publish(image)
        time.sleep(0.1)
    time.sleep(0.5)


def count(profile: bool) -> int:
    """Return how many images of a publisher in another process arrive here in a new process."""
    environment = dict(os.environ)
    if profile:
        environment |= {name: str(PROFILE) for name in (
            'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')}
    run = subprocess.run([sys.executable, __file__, 'listen'], env=environment, check=True,
                         capture_output=True, text=True, timeout=60)
    return int(run.stdout)


def listen() -> None:
    """Print how many images arrive."""
    rclpy.init()
    node = Node('listener')
    received: list[int] = []
    node.create_subscription(
        Image, 'large_image', lambda message: received.append(message.width), QOS)
    camera = subprocess.Popen([sys.executable, __file__, 'publish'])
    while camera.poll() is None:
        rclpy.spin_once(node, timeout_sec=0.05)
    print(len(received))


if __name__ == '__main__':
    if sys.argv[1:] == ['publish']:
        publish()
    elif sys.argv[1:] == ['listen']:
        listen()
    else:
        for profile in (False, True):
            print(f'{count(profile)} of {NUMBER} {"with" if profile else "without"} the profile')
