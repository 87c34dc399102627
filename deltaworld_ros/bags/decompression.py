# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decompress parts of bags, never into more memory than a bag's message may need."""

from __future__ import annotations

import bz2
import sys
from pathlib import Path
from typing import Any

# zstd and lz4 come with rosbags, which needs them for the same purpose.
from lz4.frame import LZ4FrameDecompressor

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# A raw image of 100 megapixels, rgb8, and some more.
MAX_BYTES = 512 * 2**20
ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'
_LZ4_MAGIC = b'\x04\x22\x4d\x18'


class DamagedData(ValueError):
    """Compressed data that is broken, cut short or too large."""


def decompress(data: bytes, kind: str, limit: int = MAX_BYTES) -> bytes:
    """Decompress zstd, lz4 (frames), bz2 or '' (as it is); raise `DamagedData`."""
    if kind in ('', 'none'):
        return data
    try:
        decompressor: Any
        if kind == 'zstd':
            decompressor = zstd.ZstdDecompressor()
        elif kind == 'lz4':
            decompressor = LZ4FrameDecompressor()
        elif kind == 'bz2':
            decompressor = bz2.BZ2Decompressor()
        else:
            raise DamagedData(f'compression {kind[:20]!r} is unknown')
        found: bytes = decompressor.decompress(data, max_length=limit + 1)
    # Each library has errors of its own.
    except (zstd.ZstdError, RuntimeError, OSError, ValueError, EOFError, MemoryError) as error:
        raise DamagedData(f'{kind or "its"} data is damaged: {error}') from None
    if len(found) > limit:
        raise DamagedData(f'{kind} data of {len(data)} bytes holds more than '
                          f'{limit // 2**20} MiB, which no message needs')
    if not decompressor.eof:
        raise DamagedData(f'{kind} data is cut short')
    return found


def kind_of(data: bytes) -> str:
    """Return the compression of a ROS 1 chunk by its first bytes."""
    if data.startswith(b'BZh'):
        return 'bz2'
    return 'lz4' if data.startswith(_LZ4_MAGIC) else ''


def decompress_file(source: Path, target: Path, limit: int) -> str:
    """
    Decompress a zstd file as far as possible, to at most `limit` bytes.

    Return what is wrong with the rest, or nothing.
    """
    with source.open('rb') as packed, target.open('wb') as file:
        try:
            with zstd.ZstdFile(packed) as unpacked:
                while block := unpacked.read(2**20):
                    if file.tell() + len(block) > limit:
                        return f'{source.name}: {target.parent} has too little space for the rest'
                    file.write(block)
        except (zstd.ZstdError, EOFError) as error:
            return f'{source.name}: zstd data is damaged: {error}'
    return ''
