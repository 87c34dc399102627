# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decode the encodings of sensor_msgs/Image to RGB."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.camera.bit_depth import BitDepth
from deltaworld_ros.errors import UserError

# OpenCV names a Bayer pattern after its second row: ROS's rggb is OpenCV's BG.
BAYER: dict[str, int] = {
    'rggb': cv2.COLOR_BayerBG2RGB, 'bggr': cv2.COLOR_BayerRG2RGB,
    'gbrg': cv2.COLOR_BayerGR2RGB, 'grbg': cv2.COLOR_BayerGB2RGB,
}
MIN_MOSAIC = 3   # pixels of a side
# Encoding: bytes of a channel, channels, and OpenCV's conversion to RGB (None: it is RGB).
_PACKED: dict[str, tuple[int, int, int | None]] = {
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
    **{f'bayer_{pattern}{8 * size}': (size, 1, conversion)
       for size in (1, 2) for pattern, conversion in BAYER.items()},
    'uyvy': (1, 2, cv2.COLOR_YUV2RGB_UYVY),
    'yuv422': (1, 2, cv2.COLOR_YUV2RGB_UYVY),
    'yuyv': (1, 2, cv2.COLOR_YUV2RGB_YUY2),
    'yuv422_yuy2': (1, 2, cv2.COLOR_YUV2RGB_YUY2),
}
# Luma in full, then pairs of chroma in a plane of their own, for 2x2 pixels (nv24: for each).
_PLANES = ('nv12', 'nv21', 'nv24')
ENCODINGS = (*_PACKED, *_PLANES)
ENCODINGS_16 = tuple(name for name, (size, _, _) in _PACKED.items() if size == 2)
# Neighbouring values of these differ in meaning: they cannot be averaged before conversion.
_SUBSAMPLED = ('bayer', 'uyvy', 'yuv', 'yuyv')


def decode_raw(message: Any, needed: tuple[int, int] | None, bit_depth: BitDepth,
               max_pixels: int) -> NDArray[np.uint8]:
    """Return RGB (h, w, 3) uint8; see `decode_image`."""
    width, height = int(message.width), int(message.height)
    if message.encoding not in ENCODINGS:
        raise UserError(f'image encoding {message.encoding[:40]!r} is unknown; accepted: '
                        f'{", ".join(ENCODINGS)}')
    if width == 0 or height == 0:
        raise UserError(f'image size {width}x{height} is empty')
    if message.encoding in _PLANES:
        check_size(width, height, max_pixels)
        return _decode_planes(message, width, height)
    channel_bytes, channels, conversion = _PACKED[message.encoding]
    rows = _rows(message, height, width * channels * channel_bytes)
    check_size(width, height, max_pixels)
    if channel_bytes == 2:
        order = '>' if message.is_bigendian else '<'
        rows = bit_depth.reduce(np.ascontiguousarray(rows).view(f'{order}u2'))
    pixels = rows.reshape(height, width, channels) if channels > 1 else rows
    if needed is not None and not message.encoding.startswith(_SUBSAMPLED):
        pixels = _halved(pixels, needed)
    if conversion is None:
        return pixels
    if message.encoding.startswith('bayer'):
        check_mosaic(width, height)
    try:
        # OpenCV accepts no row step that NumPy cannot call contiguous in the last two axes.
        rgb: Any = cv2.cvtColor(np.ascontiguousarray(pixels), conversion)
    except cv2.error:
        raise UserError(f'image of {width}x{height} pixels cannot be {message.encoding}; '
                        'that encoding needs an even, larger size') from None
    return np.asarray(rgb, np.uint8)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise `UserError` for an image of more pixels than are accepted."""
    if width * height > max_pixels:
        raise UserError(f'image of {width}x{height} pixels is too large; at most {max_pixels} '
                        'pixels are accepted (max_image_pixels)')


def check_mosaic(width: int, height: int) -> None:
    """Raise `UserError` for a Bayer mosaic of which OpenCV would make a black picture."""
    if min(width, height) < MIN_MOSAIC:
        raise UserError(f'image of {width}x{height} pixels is too small for a Bayer mosaic; at '
                        f'least {MIN_MOSAIC}x{MIN_MOSAIC} is accepted')


def _rows(message: Any, height: int, row: int) -> NDArray[Any]:
    """Return the rows (height, bytes of a row) of a message without their padding."""
    step = int(message.step)
    if step < row:
        raise UserError(f'image step is {step} bytes; a row of {message.width} pixels '
                        f'{message.encoding} needs {row}')
    data = np.frombuffer(message.data, np.uint8)
    if data.size < step * (height - 1) + row:
        raise UserError(f'image data has {data.size} bytes; {height} rows of step {step} need '
                        f'{step * height}')
    # The last row may lack its padding, so the view is made with strides and not by reshaping.
    return np.lib.stride_tricks.as_strided(data, (height, row), (step, 1), writeable=False)


def _decode_planes(message: Any, width: int, height: int) -> NDArray[np.uint8]:
    if message.encoding == 'nv24':   # a pair of colours (2 bytes) for each pixel
        step = max(width, int(message.step))
        rows = _rows(message, 3 * height, step)
        colours = rows[height:].reshape(height, 2 * step)[:, :2 * width]
        return _yuv_to_rgb(rows[:height, :width], colours[:, ::2], colours[:, 1::2])
    if width % 2 or height % 2:
        raise UserError(f'image of {width}x{height} pixels cannot be {message.encoding}; '
                        'that encoding needs an even size')
    rows = np.ascontiguousarray(_rows(message, height * 3 // 2, width))
    conversion = cv2.COLOR_YUV2RGB_NV12 if message.encoding == 'nv12' else cv2.COLOR_YUV2RGB_NV21
    return np.asarray(cv2.cvtColor(rows, conversion), np.uint8)


def _yuv_to_rgb(
        luma: NDArray[Any], blue: NDArray[Any], red: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert studio-range YUV (BT.601), a value of each for every pixel, as of NV12."""
    y = np.maximum(luma.astype(np.float32) - 16, 0) * np.float32(255 / 219)
    u, v = blue.astype(np.float32) - 128, red.astype(np.float32) - 128
    rgb = np.stack([y + 1.596 * v, y - 0.813 * v - 0.391 * u, y + 2.018 * u], -1)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def _halved(pixels: NDArray[np.uint8], needed: tuple[int, int]) -> NDArray[np.uint8]:
    """Halve an image by the means of 2x2 pixels as long as it stays as large as needed."""
    height, width = pixels.shape[:2]
    while (width % 2 == height % 2 == 0 and width // 2 >= needed[0]
           and height // 2 >= needed[1]):
        width, height = width // 2, height // 2
        halved: Any = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        pixels = halved
    return pixels
