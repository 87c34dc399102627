# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Arrays and facts to standard messages."""

from __future__ import annotations

import array
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String

from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.node.camera import Camera, Matrix

UNLABELLED = 255


def image_message(header: Header, pixels: NDArray[Any], kind: str | None = None) -> Image:
    """
    Make an Image of `pixels` (h, w) or (h, w, channels), which are uint8 or float32.

    `kind` names the encoding; without it, it is 8UC<channels> or 32FC<channels>.
    """
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    depth = '8UC' if pixels.dtype == np.uint8 else '32FC'
    message = Image(
        header=header, height=height, width=width, encoding=kind or f'{depth}{channels}',
        is_bigendian=0, step=width * channels * pixels.itemsize)
    # A NumPy array assigned to `data` would be checked element by element, in Python.
    data = array.array('B')
    data.frombytes(pixels.data.cast('B'))
    message.data = data
    return message


def camera_info_message(
        header: Header, camera: Camera, to_map: Matrix, size: tuple[int, int]) -> CameraInfo:
    """
    Describe maps of `size` (width, height) seen by `camera`.

    `to_map` (3, 3) takes pixel coordinates of the camera's image to those of the maps.
    """
    return CameraInfo(
        header=header, width=size[0], height=size[1],
        distortion_model=camera.distortion_model, d=list(camera.distortion),
        k=(to_map @ camera.intrinsics).ravel().tolist(),
        r=camera.rectification.ravel().tolist(),
        p=(to_map @ camera.projection).ravel().tolist())


def label_info_message(manifest: Manifest) -> String:
    """List the classes: id, name, colour (RGB) and whether it is an obstacle, as JSON."""
    return String(data=json.dumps({
        'bundle': manifest.name,
        'unlabelled': UNLABELLED,
        'classes': [
            {'id': number, 'name': entry.name, 'color': list(entry.color),
             'obstacle': entry.obstacle}
            for number, entry in enumerate(manifest.classes)],
    }))


def vision_label_info_message(types: Any, header: Header, manifest: Manifest) -> Any:
    """List the classes as vision_msgs/LabelInfo; `types` is the module vision_msgs.msg."""
    return types.LabelInfo(header=header, class_map=[
        types.VisionClass(class_id=number, class_name=entry.name)
        for number, entry in enumerate(manifest.classes)])


def json_message(facts: dict[str, Any]) -> String:
    """Make a String of JSON; numbers are rounded to six digits after the point."""
    def rounded(value: Any) -> Any:
        if isinstance(value, float):
            return round(value, 6)
        if isinstance(value, dict):
            return {key: rounded(entry) for key, entry in value.items()}
        if isinstance(value, (list, tuple)):
            return [rounded(entry) for entry in value]
        return value

    return String(data=json.dumps(rounded(facts)))
