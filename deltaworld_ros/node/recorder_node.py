# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Listen to a camera and to the forecast node, and score the forecasts from outside.

Run as a process of its own (`python -m deltaworld_ros.node.recorder`); it tells its state in lines
of JSON on the standard output and writes its result when it is interrupted.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from deltaworld_ros.bags.frames import stamp_of
from deltaworld_ros.bags.maps import decode_map
from deltaworld_ros.bundle.whole_file import write_whole
from deltaworld_ros.camera.image_fit import ImageFit
from deltaworld_ros.errors import UserError
from deltaworld_ros.evaluate.moments import SLIDER_MOMENTS, save_moments
from deltaworld_ros.evaluate.published import Published, score_published
from deltaworld_ros.node.image_decoding import decode_image
from deltaworld_ros.node.run import spin_until_interrupted

_MAPS = ('segmentation', 'depth', 'confidence', 'futures/segmentation', 'futures/depth')
# Maps are kept at about this width: a whole drive must fit into memory.
_KEPT_WIDTH = 160
# Images of which both sides are larger are kept smaller; what is shown is twice as wide as maps.
_PICTURE_SIZE = (2 * _KEPT_WIDTH, 2 * _KEPT_WIDTH)
_QUEUE = QoSProfile(depth=20)
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class RecorderNode(Node):
    """Records the images and all that the forecast node publishes for them at some leads (s)."""

    def __init__(self, forecast_node: str, image_topic: str, compressed: bool,
                 leads: list[float]) -> None:
        super().__init__('forecast_recorder')
        self.published: dict[int, Published] = {}
        self.leads = leads
        self.classes: list[dict[str, Any]] = []
        self._heard = 0
        self._pictures: dict[int, np.ndarray] = {}
        self._image_topic = image_topic
        self._map_topics: list[str] = []
        self._told_ready = False
        self.create_subscription(
            CompressedImage if compressed else Image, image_topic, self._take_image, _QUEUE)
        self.create_subscription(
            String, f'{forecast_node}/forecast_info', self._take_info, _QUEUE)
        self.create_subscription(
            String, f'{forecast_node}/label_info', self._take_labels, _LATCHED)
        for lead in (0, *(round(1000 * lead) for lead in leads)):
            for name in _MAPS if lead else _MAPS[:2]:
                self._map_topics.append(f'{forecast_node}/lead_{lead}ms/{name}')
                self.create_subscription(
                    Image, self._map_topics[-1],
                    lambda message, lead=lead, name=name: self._take_map(message, lead, name),
                    _QUEUE)
        self.create_timer(0.25, self._report)

    def images(self) -> None:
        """Fit the images that were heard to the region that the maps show."""
        for stamp, rgb in self._pictures.items():
            one = self.published[stamp]
            rows, columns = next(
                (entry.shape[:2] for entry in one.maps.values()), (0, 0))
            if rows:
                fit = ImageFit(rgb.shape[1], rgb.shape[0], 2 * columns, 2 * rows)
                one.image = fit.apply(rgb)

    def _report(self) -> None:
        """Tell the progress, and once that the node publishes everything and listens itself."""
        if not self._told_ready and self.classes \
                and self.count_subscribers(self._image_topic) > 1 \
                and all(self.count_publishers(topic) for topic in self._map_topics):
            self._told_ready = True
            tell(state='ready')
        tell(images=self._heard,
             forecasts=sum(one.forecast_time is not None for one in self.published.values()))

    def _entry(self, stamp: int) -> Published:
        return self.published.setdefault(stamp, Published())

    def _take_image(self, message: Image | CompressedImage) -> None:
        stamp = stamp_of(message)
        self._entry(stamp).image_time = time.monotonic()
        self._heard += 1
        # Small, since all of them are kept: a raw image of 720p has 2.8 MB.
        try:
            rgb = decode_image(message, needed=_PICTURE_SIZE).rgb
        except UserError:   # the node tells of it
            return
        scale = min(1.0, max(_PICTURE_SIZE[0] / rgb.shape[1], _PICTURE_SIZE[1] / rgb.shape[0]))
        self._pictures[stamp] = np.array(rgb) if scale == 1.0 else cv2.resize(
            rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)

    def _take_map(self, message: Image, lead: int, name: str) -> None:
        one = self._entry(stamp_of(message))
        if lead and name == 'segmentation' and lead == round(1000 * self.leads[-1]):
            one.forecast_time = time.monotonic()
        values = decode_map(message)
        if name.startswith('futures/') and values.ndim == 2:
            values = values[..., None]
        step = max(1, message.width // _KEPT_WIDTH)
        one.maps[lead, name] = values[::step, ::step].copy()

    def _take_info(self, message: String) -> None:
        info = json.loads(message.data)
        if info['weights'] and len(info['leads']) > 1:
            stamp = info['stamp']['sec'] * 1_000_000_000 + info['stamp']['nanosec']
            self._entry(stamp).weights = np.array(info['weights'])

    def _take_labels(self, message: String) -> None:
        self.classes = json.loads(message.data)['classes']


def tell(**state: Any) -> None:
    """Write one line of state for the process that started this one."""
    print(json.dumps(state), flush=True)


def write_result(node: RecorderNode, output: Path, moments: int) -> None:
    """Score what was recorded and write summary.json, moments.npz and drive.npz."""
    node.images()
    scores = score_published(node.published, node.leads, len(node.classes), moments)
    output.mkdir(parents=True, exist_ok=True)
    write_whole(output / 'summary.json', json.dumps(scores.summary, indent=2) + '\n')
    save_moments(output / 'moments.npz', scores.moments)
    np.savez(output / 'drive.npz', images=scores.images, forecast=scores.forecast_labels,
             true=scores.true_labels, seconds=scores.seconds)


def main(arguments: list[str] | None = None) -> int:
    """Record until interrupted, then write the result; exit code 1 where nothing was scored."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('--node', default='/forecast', help='full name of the forecast node')
    parser.add_argument('--leads', type=float, nargs='+', required=True, help='in seconds')
    parser.add_argument('--image-topic', required=True)
    parser.add_argument('--compressed', action='store_true')
    parser.add_argument('--output', type=Path, required=True)
    parser.add_argument('--moments', type=int, default=SLIDER_MOMENTS)
    options = parser.parse_args(arguments)
    try:
        node = spin_until_interrupted(
            lambda: RecorderNode(options.node, options.image_topic, options.compressed,
                                 options.leads), arguments=[])
        if node is None:
            raise UserError('the recorder was interrupted before it listened')
        write_result(node, options.output, options.moments)
    except UserError as error:
        tell(error=str(error))
        return 1
    tell(state='done')
    return 0
