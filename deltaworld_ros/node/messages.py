# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Arrays and facts to standard messages."""

from __future__ import annotations

import array
import json
import struct
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String

from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.camera.intrinsics import Camera, Matrix
from deltaworld_ros.forecast.self_score import METRICS, WINDOW
from deltaworld_ros.node.frame_result import FrameResult

UNLABELLED = 255

# Serialized messages (CDR, in this machine's byte order): four bytes that name the encoding, then
# the stamp, where a message begins with a header; a sequence is its length and its values.
_STAMP = struct.Struct('=iI')
_STAMP_OFFSET = 4
_LENGTH = struct.Struct('=I')


def image_message(header: Header, pixels: NDArray[Any], kind: str | None = None) -> Image:
    """
    Make an Image of `pixels` (h, w) or (h, w, channels), which are uint8 or float32.

    `kind` names the encoding; without it, it is 8UC<channels> or 32FC<channels>.
    """
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    message = Image(
        header=header, height=height, width=width, encoding=kind or _encoding(pixels),
        is_bigendian=0, step=pixels.nbytes // height)
    # A NumPy array assigned to `data` would be checked element by element, in Python.
    data = array.array('B')
    data.frombytes(pixels.data.cast('B'))
    message.data = data
    return message


def serialized_image(header: Header, pixels: NDArray[Any], kind: str | None = None) -> bytes:
    """
    Return what serializing `image_message` of the same arguments gives, in a fraction of the time.

    The pixels go straight behind fields that are serialized once for each kind of image.
    """
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    fields = _serialized_fields(
        header.frame_id, height, width, kind or _encoding(pixels), pixels.nbytes // height)
    return b''.join((
        restamped(fields, header), _LENGTH.pack(pixels.nbytes), pixels.data.cast('B')))


def restamped(message: bytes, header: Header) -> bytes:
    """Return a serialized message that begins with a header the stamp of another header."""
    stamp = _STAMP.pack(header.stamp.sec, header.stamp.nanosec)
    return message[:_STAMP_OFFSET] + stamp + message[_STAMP_OFFSET + _STAMP.size:]


@lru_cache(maxsize=128)
def _serialized_fields(
        frame_id: str, height: int, width: int, encoding: str, step: int) -> bytes:
    """Serialize an Image's fields up to its pixels, the last field, with a stamp of zero."""
    mark = bytes(range(1, 9))
    message = Image(header=Header(frame_id=frame_id), height=height, width=width,
                    encoding=encoding, is_bigendian=0, step=step, data=mark)
    whole: bytes = serialize_message(message)
    return whole[:whole.rindex(_LENGTH.pack(len(mark)) + mark)]


def _encoding(pixels: NDArray[Any]) -> str:
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    return f'{"8UC" if pixels.dtype == np.uint8 else "32FC"}{channels}'


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
    """List the classes: id, name, colour (RGB) and role, as JSON."""
    return String(data=json.dumps({
        'bundle': manifest.name,
        'unlabelled': UNLABELLED,
        'classes': [
            {'id': number, 'name': entry.name, 'color': list(entry.color),
             'role': entry.role}
            for number, entry in enumerate(manifest.classes)],
    }))


def vision_label_info_message(types: Any, header: Header, manifest: Manifest) -> Any:
    """List the classes as vision_msgs/LabelInfo; `types` is the module vision_msgs.msg."""
    return types.LabelInfo(header=header, class_map=[
        types.VisionClass(class_id=number, class_name=entry.name)
        for number, entry in enumerate(manifest.classes)])


def forecast_info_message(result: FrameResult, lead: int = 0) -> String:
    """Tell of a frame and its forecast, if there is one: weights, context, times, age, as JSON."""
    stamp, forecast = result.header.stamp, result.forecast
    planner_stamp = result.past_header('').stamp
    return String(data=json.dumps({
        'stamp': {'sec': stamp.sec, 'nanosec': stamp.nanosec},
        'planner_stamp': {'sec': planner_stamp.sec, 'nanosec': planner_stamp.nanosec},
        'frame_id': result.header.frame_id,
        'leads': [] if forecast is None else list(forecast.leads),
        'weights': [] if forecast is None else [
            round(float(value), 6) for value in forecast.weights],
        'context_stamps': [] if forecast is None else [
            round(value, 6) for value in forecast.context_stamps],
        'bundle': result.manifest.name,
        'engine': result.engine_name,
        'depth_scale': result.depth_scale,
        'timings_ms': {stage: round(value, 3) for stage, value in result.timings.items()},
        'age': round(result.age, 6),
    }))


def score_message(result: FrameResult, lead: int = 0) -> String | None:
    """Tell how good recent forecasts were beside copy-last, as JSON; None without a new score."""
    if not result.scores:
        return None
    stamp = result.header.stamp
    return String(data=json.dumps({
        'stamp': {'sec': stamp.sec, 'nanosec': stamp.nanosec},
        'frame_id': result.header.frame_id,
        'bundle': result.manifest.name,
        'window_s': WINDOW,
        'leads': {
            f'{seconds:g}': {
                'forecasts': score.forecasts,
                **{metric: {'error': round(score.error[metric], 6),
                            'copy_last': round(score.copy_last[metric], 6),
                            'skill': round(score.skill[metric], 4)} for metric in METRICS}}
            for seconds, score in result.scores.items()},
    }))
