# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Image messages to RGB arrays, with NumPy and OpenCV alone.

Any object with the fields of sensor_msgs/Image or sensor_msgs/CompressedImage will do, so the same
function reads the messages of rclpy and those of rosbags. (cv_bridge does not work beside every
NumPy, so `node.image_decoding` asks it for other encodings alone; rosbags-image ignores the row
step.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.camera.bit_depth import BitDepth
from deltaworld_ros.camera.compressed_images import decode_compressed, has_16_bits
from deltaworld_ros.camera.raw_images import ENCODINGS, ENCODINGS_16, check_size, decode_raw

# Larger images are refused before they are decoded: a few bytes can claim any size.
MAX_PIXELS = 50_000_000
RGB = NDArray[np.uint8]   # (h, w, 3)


class DecodedImage(NamedTuple):
    """An RGB array (h, w, 3) uint8, and the size that the camera's image has."""

    rgb: RGB
    width: int
    height: int


def decode_image(message: Any, needed: tuple[int, int] | None = None,
                 bit_depth: BitDepth | None = None, max_pixels: int = MAX_PIXELS,
                 other: Callable[[Any], RGB] | None = None) -> DecodedImage:
    """
    Decode a sensor_msgs Image or CompressedImage (JPEG, PNG) to RGB.

    Where an array of at least `needed` (width, height) pixels is enough, the image may come at a
    half or a quarter of its size, which is much faster. 16-bit channels keep the upper 8 of the
    bits that `bit_depth` has seen in use, which belongs to one camera; without it those of this
    image. `other` decodes raw images of encodings that are not in `ENCODINGS`. The array may share
    the message's memory: do not write into it. Raise `UserError` in one line for whatever cannot
    be decoded.
    """
    bit_depth = bit_depth or BitDepth()
    if hasattr(message, 'encoding'):
        if other is not None and message.encoding not in ENCODINGS:
            check_size(int(message.width), int(message.height), max_pixels)
            return DecodedImage(other(message), int(message.width), int(message.height))
        rgb = decode_raw(message, needed, bit_depth, max_pixels)
        return DecodedImage(rgb, int(message.width), int(message.height))
    return DecodedImage(*decode_compressed(message, needed, bit_depth, max_pixels))


def see_bits(message: Any, bit_depth: BitDepth) -> None:
    """Take an image's bits into account as `decode_image` does; 8-bit images are not decoded."""
    wide = message.encoding in ENCODINGS_16 if hasattr(message, 'encoding') else \
        has_16_bits(message)
    if wide:
        decode_image(message, bit_depth=bit_depth)
