# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Image messages to RGB arrays, with NumPy and OpenCV alone.

Any object with the fields of sensor_msgs/Image or sensor_msgs/CompressedImage will do, so the same
function reads the messages of rclpy and those of rosbags. (cv_bridge gives no more than this and
does not work beside every NumPy; rosbags-image ignores the row step.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.errors import UserError

RGB = NDArray[np.uint8]


class DecodedImage(NamedTuple):
    """An RGB array (h, w, 3) uint8, and the size that the camera's image has."""

    rgb: RGB
    width: int
    height: int


# Encoding: bytes of a channel, channels, and OpenCV's conversion to RGB (None: it is RGB).
# OpenCV names a Bayer pattern after its second row: ROS's rggb is OpenCV's BG.
_RAW: dict[str, tuple[int, int, int | None]] = {
    'rgb8': (1, 3, None),
    'bgr8': (1, 3, cv2.COLOR_BGR2RGB),
    'rgba8': (1, 4, cv2.COLOR_RGBA2RGB),
    'bgra8': (1, 4, cv2.COLOR_BGRA2RGB),
    'mono8': (1, 1, cv2.COLOR_GRAY2RGB),
    '8UC1': (1, 1, cv2.COLOR_GRAY2RGB),
    '8UC3': (1, 3, cv2.COLOR_BGR2RGB),
    '8UC4': (1, 4, cv2.COLOR_BGRA2RGB),
    'rgb16': (2, 3, None),
    'bgr16': (2, 3, cv2.COLOR_BGR2RGB),
    'rgba16': (2, 4, cv2.COLOR_RGBA2RGB),
    'bgra16': (2, 4, cv2.COLOR_BGRA2RGB),
    'mono16': (2, 1, cv2.COLOR_GRAY2RGB),
    '16UC1': (2, 1, cv2.COLOR_GRAY2RGB),
    'bayer_rggb8': (1, 1, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr8': (1, 1, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg8': (1, 1, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg8': (1, 1, cv2.COLOR_BayerGB2RGB),
    'bayer_rggb16': (2, 1, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr16': (2, 1, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg16': (2, 1, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg16': (2, 1, cv2.COLOR_BayerGB2RGB),
    'uyvy': (1, 2, cv2.COLOR_YUV2RGB_UYVY),
    'yuv422': (1, 2, cv2.COLOR_YUV2RGB_UYVY),
    'yuyv': (1, 2, cv2.COLOR_YUV2RGB_YUY2),
    'yuv422_yuy2': (1, 2, cv2.COLOR_YUV2RGB_YUY2),
}
ENCODINGS = tuple(_RAW)
# Neighbouring values of these differ in meaning: they cannot be averaged before conversion.
_SUBSAMPLED = ('bayer', 'uyvy', 'yuv', 'yuyv')

_JPEG_START = b'\xff\xd8'
_JPEG_END = b'\xff\xd9'
# Cameras may pad a JPEG; its end marker is looked for in this many last bytes.
_JPEG_PADDING = 4096
_JPEG_REDUCTIONS = ((4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))


def decode_image(message: Any, needed: tuple[int, int] | None = None) -> DecodedImage:
    """
    Decode a sensor_msgs Image or CompressedImage to RGB.

    Where an array of at least `needed` (width, height) pixels is enough, the image may come at a
    half or a quarter of its size, which is much faster. 16-bit channels keep their upper 8 bits.
    The array may share the message's memory: do not write into it. Raise `UserError` in one line
    for whatever cannot be decoded.
    """
    if hasattr(message, 'encoding'):
        return _decode_raw(message, needed)
    return _decode_compressed(message, needed)


def _decode_raw(message: Any, needed: tuple[int, int] | None) -> DecodedImage:
    width, height, step = int(message.width), int(message.height), int(message.step)
    if message.encoding not in _RAW:
        raise UserError(f'image encoding {message.encoding[:40]!r} is unknown; accepted: '
                        f'{", ".join(ENCODINGS)}')
    if width == 0 or height == 0:
        raise UserError(f'image size {width}x{height} is empty')
    channel_bytes, channels, conversion = _RAW[message.encoding]
    row = width * channels * channel_bytes
    if step < row:
        raise UserError(f'image step is {step} bytes; a row of {width} pixels {message.encoding} '
                        f'needs {row}')
    data = np.frombuffer(message.data, np.uint8)
    if data.size < step * (height - 1) + row:
        raise UserError(f'image data has {data.size} bytes; {height} rows of step {step} need '
                        f'{step * height}')
    # The last row may lack its padding, so the view is made with strides and not by reshaping.
    rows: NDArray[Any] = np.lib.stride_tricks.as_strided(
        data, (height, row), (step, 1), writeable=False)
    if channel_bytes == 2:
        order = '>' if message.is_bigendian else '<'
        rows = (np.ascontiguousarray(rows).view(f'{order}u2') >> 8).astype(np.uint8)
    pixels = rows.reshape(height, width, channels) if channels > 1 else rows
    if needed is not None and not message.encoding.startswith(_SUBSAMPLED):
        pixels = _halved(pixels, needed)
    if conversion is None:
        return DecodedImage(pixels, width, height)
    try:
        # OpenCV accepts no row step that NumPy cannot call contiguous in the last two axes.
        rgb = cv2.cvtColor(np.ascontiguousarray(pixels), conversion)
    except cv2.error:
        raise UserError(f'image of {width}x{height} pixels cannot be {message.encoding}; '
                        'that encoding needs an even, larger size') from None
    return DecodedImage(rgb.astype(np.uint8, copy=False), width, height)


def _halved(pixels: NDArray[np.uint8], needed: tuple[int, int]) -> NDArray[np.uint8]:
    """Halve an image by the means of 2x2 pixels as long as it stays as large as needed."""
    height, width = pixels.shape[:2]
    while (width % 2 == height % 2 == 0 and width // 2 >= needed[0]
           and height // 2 >= needed[1]):
        width, height = width // 2, height // 2
        halved: Any = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        pixels = halved
    return pixels


def _decode_compressed(message: Any, needed: tuple[int, int] | None) -> DecodedImage:
    data = np.frombuffer(message.data, np.uint8)
    said = f'compressed image ({str(message.format)[:40]!r}, {data.size} bytes)'
    if data.size == 0:
        raise UserError(f'{said} is empty')
    if 'compressedDepth' in message.format:
        raise UserError(f'{said} is a depth image; a colour image (JPEG, PNG) is accepted')
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    size = None
    if data[:2].tobytes() == _JPEG_START:
        # Older OpenCV fills what a truncated JPEG lacks with grey and says nothing.
        if _JPEG_END not in data[-_JPEG_PADDING:].tobytes():
            raise UserError(f'{said} is a truncated JPEG')
        size = _jpeg_size(data)
        if size is not None and needed is not None:
            for divisor, reduced in _JPEG_REDUCTIONS:
                if size[0] // divisor >= needed[0] and size[1] // divisor >= needed[1]:
                    flags = reduced | cv2.IMREAD_IGNORE_ORIENTATION
                    break
    try:
        bgr = cv2.imdecode(data, flags)
    except cv2.error:
        bgr = None
    if bgr is None or bgr.size == 0:
        raise UserError(f'{said} cannot be decoded; complete JPEG and PNG images are accepted')
    width, height = size or (bgr.shape[1], bgr.shape[0])
    rgb: Any = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return DecodedImage(rgb, width, height)


def _jpeg_size(data: NDArray[np.uint8]) -> tuple[int, int] | None:
    """Read (width, height) from the frame header of a JPEG; None where there is none."""
    position = 2
    while position + 9 <= data.size and data[position] == 0xFF:
        marker = int(data[position + 1])
        # Frame headers are C0 to CF but for the tables C4 and CC and the reserved C8.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = data[position + 5:position + 9].view('>u2')
            return int(width), int(height)
        position += 2 + int(data[position + 2:position + 4].view('>u2')[0])
    return None
