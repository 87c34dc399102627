# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Malformed raw and compressed images and camera_info, from message to the graph's input."""

from __future__ import annotations

import random
import sys
from functools import cache
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from support.fuzzing import main, mutate

from deltaworld_ros.camera.image_decoding import decode_image
from deltaworld_ros.camera.image_fit import ImageFit
from deltaworld_ros.camera.intrinsics import read_camera
from deltaworld_ros.camera.raw_images import ENCODINGS

SIZES = (0, 1, 2, 3, 31, 32, 33, 64, 641, 65_535, 2**31 - 1, 2**32 - 1)
NEEDED = (None, (64, 32), (320, 192))
FORMATS = ('jpeg', 'png', '', 'rgb8; jpeg compressed bgr8', 'bayer_rggb8; jpeg compressed ',
           'bayer_gbrg16; png compressed ', '16UC1; compressedDepth png', 'h264', 'x' * 1000)
NUMBERS = (0.0, 1.0, -1.0, 5e-324, 1e-12, 1e12, 1.7e308, float('inf'), float('nan'), 500.0)


def raw_image(chance: random.Random) -> None:
    """Decode a raw image of which one to four fields are wrong."""
    width, height = chance.choice((32, 33, 64)), chance.choice((16, 17, 24))
    encoding = chance.choice(ENCODINGS)
    step = width * chance.choice((1, 2, 3, 4, 6, 8))
    fields: dict[str, Any] = {
        'width': width, 'height': height, 'encoding': encoding, 'step': step, 'is_bigendian': 0,
        'data': chance.randbytes(step * chance.choice((height, 2 * height, 3 * height)))}
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        name = chance.choice(tuple(fields))
        fields[name] = {
            'width': chance.choice(SIZES), 'height': chance.choice(SIZES),
            'step': chance.choice((*SIZES, width, 3 * width)),
            'encoding': chance.choice(('', 'RGB8', 'rgb8\0', '32FC1', 'x' * 5000, 'é\n')),
            'is_bigendian': chance.choice((1, 255)),
            'data': chance.randbytes(chance.choice((0, 1, 7, 1000, 20_000)))}[name]
    _use(SimpleNamespace(**fields), chance)


def compressed_image(chance: random.Random) -> None:
    """Decode a JPEG, PNG or something else of which bytes are wrong."""
    data = chance.choice(_pictures())
    if chance.random() < 0.95:
        data = mutate(data, chance)
    _use(SimpleNamespace(format=chance.choice(FORMATS), data=data), chance)


def camera_info(chance: random.Random) -> None:
    """Read a camera_info of which some numbers are wrong, and fit it."""
    def numbers(usual: list[float]) -> list[float]:
        return [chance.choice(NUMBERS) if chance.random() < 0.1 else value for value in usual]

    def size(usual: int) -> int:
        return chance.choice(SIZES) if chance.random() < 0.1 else usual

    message = SimpleNamespace(
        width=size(640), height=size(360), distortion_model='plumb_bob', d=numbers([0.0] * 5),
        k=numbers([500., 0., 320., 0., 500., 180., 0., 0., 1.]),
        r=numbers([1., 0., 0., 0., 1., 0., 0., 0., 1.]),
        p=numbers([450., 0., 320., 0., 0., 450., 180., 0., 0., 0., 1., 0.]),
        binning_x=size(0), binning_y=size(0),
        roi=SimpleNamespace(x_offset=size(0), y_offset=size(0), width=size(0), height=size(0)))
    camera = read_camera(message, chance.choice(('image', 'image_rect')),
                         chance.choice(('auto', 'true', 'false')))
    fit = ImageFit(camera.width, camera.height, 320, 192, chance.choice(('crop', 'squash')))
    assert np.isfinite(fit.intrinsics(camera.pinhole)).all()


def _use(message: Any, chance: random.Random) -> None:
    image = decode_image(message, chance.choice(NEEDED))
    fit = ImageFit(image.rgb.shape[1], image.rgb.shape[0], 320, 192,
                   chance.choice(('crop', 'squash')))
    fitted = fit.apply(image.rgb)
    assert fitted.shape == (192, 320, 3) and fitted.dtype == np.uint8


@cache
def _pictures() -> tuple[bytes, ...]:
    generator = np.random.default_rng(0)
    rgb = cv2.resize(generator.integers(0, 256, (6, 8, 3)).astype(np.uint8), (160, 120))
    grey, wide = rgb[..., 0], rgb.astype(np.uint16) << 4
    progressive = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    made = [('.jpg', rgb, []), ('.jpg', rgb, progressive), ('.jpg', grey, []), ('.png', rgb, []),
            ('.png', grey, []), ('.png', wide, []), ('.webp', rgb, []), ('.tiff', rgb, [])]
    return tuple(cv2.imencode(kind, pixels, options)[1].tobytes()
                 for kind, pixels, options in made)


CASES = {'raw images': (raw_image, 5000), 'compressed images': (compressed_image, 3000),
         'camera_info': (camera_info, 2000)}

if __name__ == '__main__':
    cv2.setNumThreads(1)
    sys.exit(main(CASES))
