# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decode images ourselves, and by `cv_bridge`, where it imports, what we do not know."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from deltaworld_ros.camera.bit_depth import BitDepth
from deltaworld_ros.camera.image_decoding import MAX_PIXELS, RGB, DecodedImage
from deltaworld_ros.camera.image_decoding import decode_image as decode_known
from deltaworld_ros.errors import UserError


def decode_image(
        message: Any, needed: tuple[int, int] | None = None, bit_depth: BitDepth | None = None,
        max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Decode a message; see `camera.image_decoding.decode_image`, which needs no ROS."""
    return decode_known(message, needed, bit_depth, max_pixels, bridge())


@lru_cache(maxsize=1)
def bridge() -> Callable[[Any], RGB] | None:
    """Return `cv_bridge`'s conversion to RGB, or None where it cannot be imported."""
    try:
        from cv_bridge import CvBridge
    # Built for another NumPy it raises errors of many kinds, from ImportError to SystemError.
    except Exception:
        return None
    converter = CvBridge()

    def decode(message: Any) -> RGB:
        try:
            rgb = np.asarray(converter.imgmsg_to_cv2(message, 'rgb8'))
        # A fault in the message is whatever OpenCV, NumPy or Boost make of it.
        except Exception as error:
            raise UserError(
                f'image encoding {message.encoding[:40]!r} is unknown to this node, and cv_bridge '
                f'cannot decode it: {" ".join(str(error).split())[:200]}') from None
        expected = (message.height, message.width, 3)
        if rgb.shape != expected or rgb.dtype != np.uint8:
            raise UserError(
                f'image encoding {message.encoding[:40]!r}: cv_bridge made an array '
                f'{rgb.shape} {rgb.dtype} of it, not {expected} uint8')
        return rgb

    return decode
