# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Read label and depth maps, with any number of channels, from image messages."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from deltaworld_ros.errors import UserError

_TYPES = {'8U': np.uint8, '16U': np.uint16, '32F': np.float32}
_NAMES = {'mono8': '8UC1', 'mono16': '16UC1'}


def decode_map(message: Any) -> np.ndarray:
    """
    Return the map in a `sensor_msgs/Image` of rclpy or of rosbags as (h,w) or (h,w,channels).

    Accepts mono8, mono16, 8UC{n}, 16UC{n} and 32FC{n}; anything else is a `UserError`.
    """
    encoding = _NAMES.get(message.encoding, message.encoding)
    parts = re.fullmatch(r'(8U|16U|32F)C(\d{1,3})', encoding)
    if not parts or int(parts[2]) == 0:
        raise UserError(
            f'encoding {message.encoding!r} is no map: expected mono8, mono16, 8UCn, 16UCn, 32FCn')
    kind = np.dtype(_TYPES[parts[1]]).newbyteorder('>' if message.is_bigendian else '<')
    height, width, channels = message.height, message.width, int(parts[2])
    row = width * channels * kind.itemsize
    data = np.frombuffer(message.data, np.uint8)
    if row == 0 or height == 0 or message.step < row or data.size < height * message.step:
        raise UserError(
            f'map of {width}x{height} {message.encoding}: step {message.step} and {data.size} '
            f'bytes do not fit (at least {row} a row)')
    rows = data[:height * message.step].reshape(height, message.step)[:, :row]
    values = np.ascontiguousarray(rows).view(kind).reshape(height, width, channels)
    values = values.astype(kind.newbyteorder('='), copy=False)
    return values[..., 0] if channels == 1 else values


def decode_depth(message: Any) -> np.ndarray:
    """
    Return a depth map (h,w) as float32 metres, NaN where unknown.

    Follows REP 118: 32FC1 holds metres, 16UC1 millimetres with 0 for unknown.
    """
    values = decode_map(message)
    if values.ndim != 2 or values.dtype == np.uint8:
        raise UserError(f'encoding {message.encoding!r} is no depth: expected 32FC1 or 16UC1')
    if values.dtype == np.uint16:
        return np.where(values == 0, np.nan, values / 1000).astype(np.float32)
    return values


def decode_labels(message: Any) -> np.ndarray:
    """Return a label map (h,w) of uint8 class ids."""
    values = decode_map(message)
    if values.ndim != 2 or values.dtype != np.uint8:
        raise UserError(f'encoding {message.encoding!r} is no label map: expected mono8 or 8UC1')
    return values
