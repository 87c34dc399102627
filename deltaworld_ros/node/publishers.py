# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node's topics of each lead: who listens decides what is computed and published."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String

from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.camera.intrinsics import Camera, Matrix, resize_matrix
from deltaworld_ros.camera.map_resize import enlarge_map
from deltaworld_ros.forecast.forecaster import Forecast
from deltaworld_ros.forecast.view import forecast_view
from deltaworld_ros.node.messages import (
    camera_info_message,
    label_info_message,
    restamped,
    serialized_image,
    vision_label_info_message,
)

OUTPUT_QOS = QoSProfile(depth=5)   # reliable, volatile
LATCHED_QOS = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

Topic = tuple[int, str]   # number of the lead (0: the present), name below the lead


@dataclass(frozen=True)
class Scene:
    """What a forecast's maps show: the frame as the model saw it, and the camera, if known."""

    image: NDArray[np.uint8]        # (h, w, 3) RGB at the graphs' input size
    camera: Camera | None
    to_input: Matrix                # camera's pixels to pixels of `image`
    depth_scale: float              # metres for each unit of the forecast's depth


class ForecastPublishers:
    """
    Publishers below `~/lead_<ms>ms` for each lead, and the latched `~/label_info`.

    They are made when the node is configured and publish while it is active.
    """

    def __init__(self, node: LifecycleNode, manifest: Manifest, num_futures: int,
                 publish_each_future: bool) -> None:
        self._node = node
        self._manifest = manifest
        names = [one.name for one in manifest.classes]
        self._sky = names.index('sky') if 'sky' in names else None
        self._topics: dict[Topic, Publisher] = {}
        for lead, seconds in enumerate((0.0, *manifest.leads)):
            names = ['segmentation', 'depth', 'camera_info', 'view']
            if lead > 0:
                names += ['confidence', 'futures/segmentation', 'futures/depth']
                if publish_each_future:
                    names += [f'future_{number}/{kind}' for number in range(num_futures)
                              for kind in ('segmentation', 'depth')]
            for name in names:
                self._topics[lead, name] = node.create_lifecycle_publisher(
                    CameraInfo if name == 'camera_info' else Image,
                    f'~/{lead_name(seconds)}/{name}', OUTPUT_QOS)
        self._info = node.create_lifecycle_publisher(String, '~/forecast_info', OUTPUT_QOS)
        self._latched = _publish_labels(node, manifest)
        # The last serialized camera_info, and what it describes: cameras seldom change.
        self._described: Any = None
        self._description = b''

    def wanted(self) -> set[Topic]:
        """Give the topics below the leads that have subscribers now."""
        return {topic for topic, publisher in self._topics.items()
                if publisher.get_subscription_count() > 0}

    @property
    def info_wanted(self) -> bool:
        """Tell whether anybody listens to `~/forecast_info`."""
        return bool(self._info.get_subscription_count() > 0)

    def publish_info(self, message: String) -> None:
        """Publish on `~/forecast_info`."""
        self._info.publish(message)

    def publish(self, wanted: set[Topic], header: Header, forecast: Forecast, scene: Scene,
                output_width: int) -> int:
        """Publish `forecast` on those `wanted` topics that it has maps for; give their number."""
        number = 0
        size = self._map_size(output_width)
        camera_info = None
        if scene.camera is not None and any(name == 'camera_info' for _, name in wanted):
            camera_info = self._camera_info(header, scene.camera, scene.to_input, size)
        metres = self._metres(forecast, scene.depth_scale)
        for topic in sorted(one for one in wanted if one[0] < len(forecast.leads)):
            message = camera_info if topic[1] == 'camera_info' else self._image(
                topic, header, forecast, metres, scene, size)
            if message is not None:
                self._topics[topic].publish(message)
                number += 1
        return number

    def destroy(self) -> None:
        """Take the topics away."""
        for publisher in (*self._topics.values(), self._info):
            self._node.destroy_lifecycle_publisher(publisher)
        for publisher in self._latched:
            self._node.destroy_publisher(publisher)

    def _map_size(self, width: int) -> tuple[int, int]:
        manifest = self._manifest
        return width, max(1, round(width * manifest.map_height / manifest.map_width))

    def _camera_info(self, header: Header, camera: Camera, to_input: Matrix,
                     size: tuple[int, int]) -> bytes:
        """Describe the maps of every lead alike: one camera sees them all."""
        seen = (header.frame_id, camera.values(), to_input.tobytes(), size)
        if seen != self._described:
            to_map = resize_matrix(size[0] / self._manifest.image_width,
                                   size[1] / self._manifest.image_height) @ to_input
            self._description = serialize_message(
                camera_info_message(header, camera, to_map, size))
            self._described = seen
        return restamped(self._description, header)

    def _image(self, topic: Topic, header: Header, forecast: Forecast, metres: Forecast,
               scene: Scene, size: tuple[int, int]) -> bytes | None:
        lead, name = topic
        manifest = self._manifest
        if name == 'view':   # its colours follow the bundle's own depth range
            depth_range = (manifest.depth_minimum, manifest.depth_maximum)
            return serialized_image(header, forecast_view(
                forecast, lead, manifest.classes, depth_range, scene.image, size), 'rgb8')
        if name == 'confidence':
            share = np.rint(255 * forecast.confidence[lead]).astype(np.uint8)
            return serialized_image(header, enlarge_map(share, size), 'mono8')
        owner, _, kind = name.rpartition('/')
        maps = _maps(metres, lead, owner, kind)
        if maps is None:
            return None
        maps = enlarge_map(maps, size)
        # A stack of one future is still a stack: 8UC1, not mono8.
        encoding = None if owner == 'futures' else {'segmentation': 'mono8'}.get(kind)
        return serialized_image(header, maps, encoding)

    def _metres(self, forecast: Forecast, scale: float) -> Forecast:
        """Scale depth to the camera; NaN in the sky and outside what the bundle can express."""
        low, high = self._manifest.depth_minimum, self._manifest.depth_maximum

        def metres(depth: NDArray[np.float32], labels: NDArray[np.uint8]) -> NDArray[np.float32]:
            metres = depth * np.float32(scale)
            unknown = (depth < low) | (depth > high)
            if self._sky is not None:
                unknown |= labels == self._sky
            np.putmask(metres, unknown, np.nan)
            return metres

        futures = None
        if forecast.labels is not None and forecast.depth is not None:
            futures = metres(forecast.depth, forecast.labels)
        return dataclasses.replace(
            forecast, fused_depth=metres(forecast.fused_depth, forecast.fused_labels),
            depth=futures)


def lead_name(seconds: float) -> str:
    """Name a lead for topics: lead_600ms."""
    return f'lead_{round(1000 * seconds)}ms'


def _publish_labels(node: LifecycleNode, manifest: Manifest) -> list[Publisher]:
    publishers = [node.create_publisher(String, '~/label_info', LATCHED_QOS)]
    publishers[0].publish(label_info_message(manifest))
    try:
        import vision_msgs.msg
    except ImportError:
        return publishers
    publishers.append(node.create_publisher(
        vision_msgs.msg.LabelInfo, '~/vision_label_info', LATCHED_QOS))
    header = Header(stamp=node.get_clock().now().to_msg())
    publishers[1].publish(vision_label_info_message(vision_msgs.msg, header, manifest))
    return publishers


def _maps(forecast: Forecast, lead: int, owner: str, kind: str) -> NDArray[Any] | None:
    """Pick maps (a, b) of the fused forecast or of one future, or (a, b, K) of all futures."""
    if not owner:
        fused = forecast.fused_labels if kind == 'segmentation' else forecast.fused_depth
        return fused[lead]
    futures = forecast.labels if kind == 'segmentation' else forecast.depth
    if futures is None:
        return None
    if owner == 'futures':
        return np.ascontiguousarray(futures[:, lead - 1].transpose(1, 2, 0))
    number = int(owner.rpartition('_')[2])
    return futures[number, lead - 1] if number < len(futures) else None
