# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the first bytes of a JPEG or PNG say, read before anything is decoded."""

from __future__ import annotations

import struct
from typing import NamedTuple

JPEG_START, JPEG_END = b'\xff\xd8', b'\xff\xd9'
PNG_START = b'\x89PNG\r\n\x1a\n'
# Beginnings of what OpenCV may read, too, and of video that is sent as images.
_OTHERS = (
    (b'GIF8', 'a GIF'), (b'BM', 'a BMP'), (b'II*\x00', 'a TIFF'), (b'MM\x00*', 'a TIFF'),
    (b'\x00\x00\x00\x0cjP  ', 'a JPEG 2000'), (b'\xff\x4f\xff\x51', 'a JPEG 2000'),
    (b'\xff\x0a', 'a JPEG XL'), (b'\x00\x00\x00\x0cJXL ', 'a JPEG XL'),
    (b'v/1\x01', 'an OpenEXR'), (b'#?', 'a Radiance HDR'), (b'P', 'a PNM'),
    (b'\x59\xa6\x6a\x95', 'a Sun raster'),
    (b'\x00\x00\x00\x01', 'a video frame (H.264 or H.265)'), (b'\x00\x00\x01', 'a video frame'),
)
# Greyscale, with and without alpha.
_GREY_PNG = (0, 4)
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD8))


class ImageHeader(NamedTuple):
    """
    Size in pixels, bits a channel, and whether there is one channel.

    `begin` is where the compressed pixels of a JPEG begin, 0 in a PNG.
    """

    width: int
    height: int
    bits: int
    grey: bool
    begin: int = 0


def read_jpeg_header(data: bytes) -> ImageHeader | None:
    """Read the markers of a JPEG up to its pixels; None where they are not whole."""
    position, frame = 2, None
    while position + 4 <= len(data):
        position = data.find(b'\xff', position)      # decoders skip what is between segments
        if position < 0 or position + 4 > len(data):
            return None
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _WITHOUT_LENGTH or marker == 0:
            position += 2
        else:
            if frame is None and 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                if position + 10 > len(data):
                    return None
                bits, height, width, channels = struct.unpack_from('>BHHB', data, position + 4)
                frame = ImageHeader(width, height, bits, channels == 1)
            if marker == 0xDA:
                return None if frame is None else frame._replace(begin=position)
            if marker == 0xD9:
                return None
            position += 2 + int.from_bytes(data[position + 2:position + 4], 'big')
    return None


def read_png_header(data: bytes) -> ImageHeader | None:
    """Read the first chunk of a PNG; None where it is not whole."""
    if len(data) < 33 or data[8:16] != b'\0\0\0\x0dIHDR':
        return None
    width, height, bits, colour = struct.unpack_from('>IIBB', data, 16)
    return ImageHeader(width, height, bits, colour in _GREY_PNG)


def is_whole_png(data: bytes) -> bool:
    """
    Tell whether the chunks of a PNG follow each other to the last one.

    OpenCV makes room for a chunk before it looks how much there is: 4 GB for a wrong length. Older
    ones leave black what is missing at the end and say nothing.
    """
    position = len(PNG_START)
    while position + 12 <= len(data):
        if data[position + 4:position + 8] == b'IEND':
            return True
        position += 12 + int.from_bytes(data[position:position + 4], 'big')
    return False


def name_of_format(data: bytes) -> str:
    """Return what data that is neither JPEG nor PNG seems to be, nothing where that is unknown."""
    if data[:4] == b'RIFF' and data[8:12] == b'WEBP':
        return 'a WebP'
    if data[4:8] == b'ftyp':
        return 'an AVIF or HEIC'
    for start, name in _OTHERS:
        if data.startswith(start) and (start != b'P' or data[1:2] in b'1234567fF'):
            return name
    return ''
