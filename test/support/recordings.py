# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Small real videos and images whose grey level tells the number of the frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

LEVEL_STEP = 3


def numbered_frame(number: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """Return an RGB frame of (w, h), all of the number's grey level."""
    return np.full((size[1], size[0], 3), 8 + LEVEL_STEP * number, np.uint8)


def frame_numbers(frames: np.ndarray) -> list[int]:
    """Read the numbers of frames (F, h, w, 3) back; lossy pictures are exact enough for it."""
    return [round((float(frame.mean()) - 8) / LEVEL_STEP) for frame in frames]


def write_video(path: Path, count: int, *, rate: int = 25, codec: str = 'libx264', gop: int = 10,
                milliseconds: list[int] | None = None, size: tuple[int, int] = (64, 48)) -> Path:
    """Write numbered frames at a rate, or at the given times, with B frames where H.264 is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
        stream.gop_size = gop
        stream.bit_rate = 4_000_000
        stream.codec_context.qmax = 3
        if milliseconds is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, size), format='rgb24')
            if milliseconds is not None:
                frame.pts, frame.time_base = milliseconds[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_image(path: Path, array: np.ndarray) -> Path:
    """Write RGB (h, w, 3), or a map (h, w) of uint8 or uint16, in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = array[..., ::-1] if array.ndim == 3 else array
    assert cv2.imwrite(str(path), data)
    return path


def truncate(path: Path, share: float = 0.5) -> None:
    """Cut a file off."""
    data = path.read_bytes()
    path.write_bytes(data[:int(len(data) * share)])
