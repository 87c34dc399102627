# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decode JPEG and PNG to RGB, after their headers have been checked."""

from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.camera.bit_depth import BitDepth
from deltaworld_ros.camera.image_headers import (
    JPEG_END,
    JPEG_START,
    PNG_START,
    ImageHeader,
    is_whole_png,
    name_of_format,
    read_jpeg_header,
    read_png_header,
)
from deltaworld_ros.camera.raw_images import BAYER, check_mosaic
from deltaworld_ros.errors import UserError

_JPEG_REDUCTIONS = ((4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))


def decode_compressed(message: Any, needed: tuple[int, int] | None, bit_depth: BitDepth,
                      max_pixels: int) -> tuple[NDArray[np.uint8], int, int]:
    """Return RGB (h, w, 3) uint8 and the image's own width and height; see `decode_image`."""
    data = np.frombuffer(message.data, np.uint8)
    said = f'compressed image ({str(message.format)[:40]!r}, {data.size} bytes)'
    if data.size == 0:
        raise UserError(f'{said} is empty')
    if 'compressedDepth' in message.format:
        raise UserError(f'{said} is a depth image; a colour image (JPEG, PNG) is accepted')
    packed = data.tobytes()
    header = _read_header(packed, said)
    if header.width * header.height > max_pixels:
        raise UserError(f'{said} is {header.width}x{header.height} pixels large; at most '
                        f'{max_pixels} pixels are accepted (max_image_pixels)')
    bayer = _bayer_pattern(message.format) if header.grey else None
    flags = cv2.IMREAD_COLOR
    if bayer:
        flags = cv2.IMREAD_GRAYSCALE | (cv2.IMREAD_ANYDEPTH if header.bits > 8 else 0)
    elif header.bits > 8:
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    elif header.begin and needed is not None:
        flags = _reduction(header, needed)
    try:
        pixels: Any = cv2.imdecode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        pixels = None
    if pixels is None or pixels.size == 0:
        raise UserError(f'{said} cannot be decoded; complete JPEG and PNG images are accepted')
    if pixels.dtype == np.uint16:
        pixels = bit_depth.reduce(pixels)
    if bayer:
        check_mosaic(header.width, header.height)
    rgb: Any = cv2.cvtColor(pixels, BAYER[bayer] if bayer else cv2.COLOR_BGR2RGB)
    return rgb, header.width, header.height


def has_16_bits(message: Any) -> bool:
    """Tell by its header if an image is a PNG of 16 bits a channel."""
    begin = np.frombuffer(message.data, np.uint8)[:64].tobytes()
    header = read_png_header(begin) if begin.startswith(PNG_START) else None
    return header is not None and header.bits == 16


def _read_header(packed: bytes, said: str) -> ImageHeader:
    if packed.startswith(JPEG_START):
        header = read_jpeg_header(packed)
        # Older OpenCV fills what a truncated JPEG lacks with grey and says nothing. Behind the end
        # there may be padding of any length, and what an older image left in the buffer.
        if header is not None and packed.rfind(JPEG_END) < header.begin or \
                header is None and JPEG_END not in packed:
            raise UserError(f'{said} is a truncated JPEG')
    elif packed.startswith(PNG_START):
        header = read_png_header(packed)
        if header is not None and not is_whole_png(packed):
            raise UserError(f'{said} is a truncated or damaged PNG')
    else:
        found = name_of_format(packed)
        is_what = f'is {found}; only' if found else 'cannot be decoded; complete'
        raise UserError(f'{said} {is_what} JPEG and PNG images are accepted')
    if header is None or not header.width or not header.height:
        raise UserError(f'{said} cannot be decoded; complete JPEG and PNG images are accepted')
    return header


def _bayer_pattern(text: str) -> str | None:
    """Return the pattern of a mosaic that was compressed as it is: 'bayer_rggb8; jpeg ...'."""
    found = re.match(r'bayer_([rgb]{4})\d+\b', text.lower())
    return found[1] if found and found[1] in BAYER else None


def _reduction(header: ImageHeader, needed: tuple[int, int]) -> int:
    for divisor, flags in _JPEG_REDUCTIONS:
        if header.width // divisor >= needed[0] and header.height // divisor >= needed[1]:
            return flags
    return cv2.IMREAD_COLOR
