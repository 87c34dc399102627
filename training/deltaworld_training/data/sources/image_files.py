# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames and maps that are image files, whole or broken."""

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from deltaworld_ros.camera.bit_depth import BitDepth
from deltaworld_ros.camera.image_decoding import decode_image
from deltaworld_ros.errors import UserError
from deltaworld_training.data.problems import BrokenFile

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png')
_PNG_START, _PNG_END = b'\x89PNG', b'IEND'


class _Encoded(NamedTuple):
    format: str
    data: bytes


@lru_cache(maxsize=1024)
def image_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the images in a folder, their numbers in numerical order."""
    try:
        names = [
            item.name for item in folder.iterdir()
            # macOS leaves a ._name beside each name in archives.
            if item.suffix.lower() in IMAGE_SUFFIXES and not item.name.startswith('._')]
    except OSError as error:
        raise BrokenFile(folder, error.strerror or error) from None
    return tuple(sorted(names, key=_by_numbers))


def _by_numbers(name: str) -> list[tuple[int, str]]:
    return [(int(part), '') if part.isdigit() else (-1, part)
            for part in re.split(r'(\d+)', name)]


def read_frames(paths: Iterable[Path]) -> np.ndarray:
    """Return images of one size as (F, h, w, 3) uint8 RGB; raise BrokenFile naming the bad one."""
    frames: list[np.ndarray] = []
    bit_depth = BitDepth()
    for path in paths:
        try:
            frame = decode_image(_Encoded(path.suffix, _read(path)), bit_depth=bit_depth).rgb
        except UserError as error:
            raise BrokenFile(path, error) from None
        _check_size(path, frame, frames)
        frames.append(frame)
    return np.stack(frames)


def read_map(path: Path, frame_size: tuple[int, int]) -> np.ndarray:
    """Return a one-channel image of (h, w) as it is stored, uint8 or uint16."""
    data = np.frombuffer(_read(path), np.uint8)
    values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if values is None:
        raise BrokenFile(path, 'cannot be decoded')
    if values.shape != frame_size:
        raise BrokenFile(
            path, f'a map of shape {values.shape}; its frame is of {frame_size} pixels')
    return values


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BrokenFile(path, error.strerror or error) from None
    # Older OpenCV leaves what a truncated PNG lacks black and says nothing.
    if data.startswith(_PNG_START) and _PNG_END not in data[-16:]:
        raise BrokenFile(path, 'a truncated PNG')
    return data


def _check_size(path: Path, frame: np.ndarray, others: list[np.ndarray]) -> None:
    if others and frame.shape != others[0].shape:
        height, width = frame.shape[:2]
        raise BrokenFile(path, f'{width}x{height} pixels; the frame before has '
                               f'{others[0].shape[1]}x{others[0].shape[0]}')
