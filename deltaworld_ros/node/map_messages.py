# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Make the messages below a lead: maps, stacks of futures, pictures for people, intrinsics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.serialization import serialize_message

from deltaworld_ros.camera.intrinsics import resize_matrix
from deltaworld_ros.camera.map_resize import enlarge_map
from deltaworld_ros.forecast.view import colored_range, forecast_view
from deltaworld_ros.node.frame_result import FrameResult
from deltaworld_ros.node.messages import camera_info_message, restamped, serialized_image


def segmentation(result: FrameResult, lead: int) -> bytes | None:
    """Return the fused class ids, mono8."""
    return _map_message(result, lead, result.metres.fused_labels[lead], 'mono8')


def depth(result: FrameResult, lead: int) -> bytes | None:
    """Return the fused depth in metres, 32FC1."""
    return _map_message(result, lead, result.metres.fused_depth[lead])


def confidence(result: FrameResult, lead: int) -> bytes | None:
    """Return the share (x255) of the weighted futures that agree with the fused class, mono8."""
    share = np.rint(255 * result.metres.confidence[lead]).astype(np.uint8)
    return _map_message(result, lead, share, 'mono8')


def futures_segmentation(result: FrameResult, lead: int) -> bytes | None:
    """Return the class ids of all futures, 8UC<K>."""
    return _map_message(result, lead, _stack(result.metres.labels, lead))


def futures_depth(result: FrameResult, lead: int) -> bytes | None:
    """Return the depth of all futures in metres, 32FC<K>."""
    return _map_message(result, lead, _stack(result.metres.depth, lead))


def future_segmentation(number: int, result: FrameResult, lead: int) -> bytes | None:
    """Return the class ids of one future, mono8."""
    return _map_message(
        result, lead, _future(result.metres.labels, number, lead), 'mono8')


def future_depth(number: int, result: FrameResult, lead: int) -> bytes | None:
    """Return the depth of one future in metres, 32FC1."""
    return _map_message(result, lead, _future(result.metres.depth, number, lead))


def view(result: FrameResult, lead: int) -> bytes:
    """Return a mosaic for people, rgb8; its colours follow the bundle's own depth range."""
    manifest, scale = result.manifest, result.depth_scale or 1.0
    nearest, farthest = colored_range(manifest.depth_minimum, manifest.depth_maximum)
    return serialized_image(result.header, forecast_view(
        result.metres, lead, manifest.classes, (nearest * scale, farthest * scale), result.image,
        result.size), 'rgb8')


def picture(result: FrameResult, lead: int) -> bytes | None:
    """Return what the likeliest future looks like, rgb8, at the graphs' input size."""
    assert result.forecast is not None
    painted = result.forecast.pictures.get(lead)
    return None if painted is None else serialized_image(result.header, painted, 'rgb8')


class CameraInfoMaker:
    """Describes the maps of every lead: one camera sees them all, if from different places."""

    def __init__(self) -> None:
        # For each lead the last message and what it describes: cameras seldom change.
        self._descriptions: dict[int, tuple[Any, bytes]] = {}

    def __call__(self, result: FrameResult, lead: int) -> bytes | None:
        """Return the intrinsics of the maps, or None where the camera is unknown."""
        camera, size, manifest = result.camera, result.size, result.manifest
        if camera is None:
            return None
        header = result.header_of(lead)
        seen = (header.frame_id, camera.values(), result.to_input.tobytes(), size)
        described, description = self._descriptions.get(lead, (None, b''))
        if seen != described:
            to_map = resize_matrix(size[0] / manifest.image_width,
                                   size[1] / manifest.image_height) @ result.to_input
            description = serialize_message(camera_info_message(header, camera, to_map, size))
            self._descriptions[lead] = (seen, description)
        return restamped(description, header)


def _map_message(
        result: FrameResult, lead: int, maps: NDArray[Any] | None, encoding: str | None = None,
) -> bytes | None:
    """Return maps (a, b) or (a, b, K) at the published size, or None where there are none."""
    if maps is None:
        return None
    return serialized_image(
        result.header_of(lead), enlarge_map(maps, result.size), encoding)


def _stack(futures: NDArray[Any] | None, lead: int) -> NDArray[Any] | None:
    """Return maps (a, b, K) of all futures (K, S, a, b) at a lead."""
    if futures is None:
        return None
    return np.ascontiguousarray(futures[:, lead - 1].transpose(1, 2, 0))


def _future(futures: NDArray[Any] | None, number: int, lead: int) -> NDArray[Any] | None:
    if futures is None or number >= len(futures):
        return None
    return np.asarray(futures[number, lead - 1])
