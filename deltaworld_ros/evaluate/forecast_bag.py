# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Write forecasts as a bag beside the recording, for Foxglove and RViz."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError
from rosbags.typesys import Stores, get_typestore

from deltaworld_ros.bags.messages import ros_time
from deltaworld_ros.bundle.semantic_class import SemanticClass
from deltaworld_ros.errors import UserError
from deltaworld_ros.evaluate.pairs import Candidate
from deltaworld_ros.forecast.lead_name import lead_name
from deltaworld_ros.forecast.view import color_labels

_STORE = get_typestore(Stores.ROS2_JAZZY)
_IMAGE, _COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
_CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'


class ForecastBag:
    """
    An mcap bag with the topics of the node, `/forecast/lead_600ms/segmentation` and so on.

    Each message has the stamp of the image that it was forecast from, which is also its log time.
    `view` is the classes in colour, and `/forecast/image/compressed` what the model saw.
    """

    def __init__(self, folder: Path, classes: Sequence[SemanticClass]) -> None:
        self._classes = classes
        self._connections: dict[str, Any] = {}
        self._writer = Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP)
        try:
            self._writer.open()
        except (WriterError, OSError) as error:
            raise UserError(f'{folder}: cannot be written: {error}') from None

    def __enter__(self) -> ForecastBag:
        """Return the open bag."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Finish the bag."""
        self._writer.close()

    def add_image(self, stamp: int, frame_id: str, image: np.ndarray) -> None:
        """Write the RGB picture (h,w,3) that the model saw."""
        _, data = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        self._write('image/compressed', _COMPRESSED, stamp, _STORE.types[_COMPRESSED](
            header=_header(stamp, frame_id), format='jpeg', data=data.ravel()))

    def add_lead(self, stamp: int, frame_id: str, lead: float, fused: Candidate,
                 confidence: np.ndarray, intrinsics: np.ndarray | None) -> None:
        """
        Write the fused maps (a,b) of one lead in seconds, and their camera matrix if known.

        Depth in metres is written only with a camera matrix: without it, it has no unit.
        """
        name = lead_name(lead)
        maps = {'segmentation': (fused.labels, 'mono8'),
                'confidence': (np.rint(255 * confidence).astype(np.uint8), 'mono8'),
                'view': (color_labels(fused.labels, self._classes), 'rgb8')}
        if intrinsics is not None:
            maps['depth'] = fused.depth.astype(np.float32), '32FC1'
        for topic, (pixels, encoding) in maps.items():
            self._write(f'{name}/{topic}', _IMAGE, stamp,
                        _image(stamp, frame_id, pixels, encoding))
        if intrinsics is not None:
            self._write(f'{name}/camera_info', _CAMERA_INFO, stamp,
                        _camera_info(stamp, frame_id, intrinsics, fused.labels.shape))

    def _write(self, name: str, kind: str, stamp: int, message: Any) -> None:
        topic = f'/forecast/{name}'
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=_STORE)
        self._writer.write(
            self._connections[topic], max(stamp, 0), _STORE.serialize_cdr(message, kind))


def _header(stamp: int, frame_id: str) -> Any:
    time = _STORE.types['builtin_interfaces/msg/Time'](*ros_time(stamp))
    return _STORE.types['std_msgs/msg/Header'](stamp=time, frame_id=frame_id)


def _image(stamp: int, frame_id: str, pixels: np.ndarray, encoding: str) -> Any:
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).view(np.uint8).ravel()
    return _STORE.types[_IMAGE](
        header=_header(stamp, frame_id), height=height, width=width, encoding=encoding,
        is_bigendian=0, step=data.size // height, data=data)


def _camera_info(stamp: int, frame_id: str, matrix: np.ndarray, size: Sequence[int]) -> Any:
    region = _STORE.types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
    projection = np.hstack([matrix, np.zeros((3, 1))])
    return _STORE.types[_CAMERA_INFO](
        header=_header(stamp, frame_id), height=size[0], width=size[1],
        distortion_model='plumb_bob', d=np.zeros(5), k=matrix.ravel(), r=np.eye(3).ravel(),
        p=projection.ravel(), binning_x=0, binning_y=0, roi=region)
