# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Image messages to RGB: every encoding against a known picture, every fault as one clear line."""

from __future__ import annotations

import array
import resource
import struct
import zlib
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from deltaworld_ros.camera.bit_depth import BitDepth
from deltaworld_ros.camera.image_decoding import decode_image, see_bits
from deltaworld_ros.camera.raw_images import ENCODINGS
from deltaworld_ros.errors import UserError

WIDTH, HEIGHT = 32, 16
# Four quarters of one colour each, so that demosaicing and chroma subsampling keep their middles.
COLOURS = np.array([[200, 30, 40], [20, 180, 60], [50, 40, 220], [130, 130, 130]], np.uint8)
MIDDLES = ((4, 8), (4, 24), (12, 8), (12, 24))


def picture() -> np.ndarray:
    quarters = COLOURS.reshape(2, 2, 3)
    return quarters.repeat(HEIGHT // 2, 0).repeat(WIDTH // 2, 1)


def raw(data: np.ndarray, encoding: str, padding: int = 0, bigendian: bool = False) -> Any:
    rows = np.ascontiguousarray(data).view(np.uint8).reshape(len(data), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    return SimpleNamespace(
        width=WIDTH, height=HEIGHT, encoding=encoding, is_bigendian=int(bigendian),
        step=rows.shape[1], data=array.array('B', rows.tobytes()))


def compressed(data: bytes, image_format: str = 'jpeg') -> Any:
    return SimpleNamespace(format=image_format, data=array.array('B', data))


def jpeg(pixels: np.ndarray, extension: str = '.jpg') -> bytes:
    return bytes(cv2.imencode(extension, pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1])


def encode(encoding: str) -> np.ndarray:
    """Encode the picture by the encodings' definitions, without OpenCV."""
    rgb = picture()
    base = encoding.replace('16', '8').replace('8UC1', 'mono8').replace('8UC3', 'bgr8')
    base = base.replace('8UC4', 'bgra8')
    alpha = np.full((HEIGHT, WIDTH, 1), 9, np.uint8)
    if base in ('rgb8', 'bgr8'):
        data = rgb if base == 'rgb8' else rgb[..., ::-1]
    elif base in ('rgba8', 'bgra8'):
        data = np.concatenate([rgb if base == 'rgba8' else rgb[..., ::-1], alpha], 2)
    elif base == 'mono8':
        data = rgb[..., 1]
    elif base.startswith('bayer'):
        pattern = ['rgb'.index(letter) for letter in base[6:10]]
        data = np.zeros((HEIGHT, WIDTH), np.uint8)
        for place, channel in enumerate(pattern):
            row, column = divmod(place, 2)
            data[row::2, column::2] = rgb[row::2, column::2, channel]
    elif base.startswith('nv'):
        data = encode_planes(base, rgb)
    else:
        r, g, b = (rgb[..., channel].astype(float) for channel in range(3))
        y = 16 + (65.74 * r + 129.06 * g + 25.06 * b) / 256
        u = 128 + (-37.95 * r - 74.49 * g + 112.44 * b) / 256
        v = 128 + (112.44 * r - 94.15 * g - 18.29 * b) / 256
        chroma = np.where(np.arange(WIDTH) % 2 == 0, u, v)
        pair = (chroma, y) if base in ('uyvy', 'yuv422') else (y, chroma)
        data = np.stack(pair, 2).round().astype(np.uint8)
    return data


def encode_planes(encoding: str, rgb: np.ndarray) -> np.ndarray:
    yuv = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    y = yuv[:HEIGHT]
    u, v = yuv[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
    if encoding == 'nv24':
        u, v = (plane.repeat(2, 0).repeat(2, 1) for plane in (u, v))
    pair = (v, u) if encoding == 'nv21' else (u, v)
    return np.vstack([y, np.stack(pair, 2).reshape(-1, WIDTH)])


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_every_encoding_gives_the_picture(encoding: str) -> None:
    data = encode(encoding)
    if '16' in encoding:
        data = (data.astype(np.uint16) << 8 | 0xAB).astype('<u2')
    for padding in (0, 6):
        if encoding == 'nv24' and padding:   # its rows of chroma are twice as long
            data = np.hstack([data, np.full((len(data), padding), 77, np.uint8)])
            data[HEIGHT:] = np.pad(encode(encoding)[HEIGHT:].reshape(HEIGHT, -1), (
                (0, 0), (0, 2 * padding))).reshape(2 * HEIGHT, -1)
            padding = 0
        image = decode_image(raw(data, encoding, padding))
        assert (image.width, image.height) == (WIDTH, HEIGHT)
        assert image.rgb.shape == (HEIGHT, WIDTH, 3) and image.rgb.dtype == np.uint8
        grey = encoding in ('mono8', 'mono16', '8UC1', '16UC1')
        for (row, column), colour in zip(MIDDLES, COLOURS, strict=True):
            expected = np.repeat(colour[1], 3) if grey else colour
            assert np.abs(image.rgb[row, column].astype(int) - expected).max() <= 3


def test_big_endian_channels() -> None:
    data = (picture().astype(np.uint16) << 8).astype('>u2')
    assert (decode_image(raw(data, 'rgb16', bigendian=True)).rgb == picture()).all()


def test_the_last_row_may_lack_its_padding() -> None:
    message = raw(picture(), 'rgb8', padding=10)
    message.data = message.data[:-10]
    assert (decode_image(message).rgb == picture()).all()


@pytest.mark.parametrize('extension', ['.jpg', '.png'])
def test_compressed_images(extension: str) -> None:
    image = decode_image(compressed(jpeg(picture(), extension), extension[1:]))
    for (row, column), colour in zip(MIDDLES, COLOURS, strict=True):
        assert np.abs(image.rgb[row, column].astype(int) - colour).max() <= 8


@pytest.mark.parametrize(('needed', 'shape'), [
    (None, (480, 640)), ((320, 192), (240, 320)), ((321, 192), (480, 640)),
    ((100, 60), (120, 160)),
])
def test_large_jpegs_are_decoded_no_smaller_than_needed(
        needed: tuple[int, int] | None, shape: tuple[int, int]) -> None:
    large = cv2.resize(picture(), (640, 480), interpolation=cv2.INTER_NEAREST)
    image = decode_image(compressed(jpeg(large)), needed)
    assert image.rgb.shape[:2] == shape and (image.width, image.height) == (640, 480)
    for row, column, colour in ((.25, .25, 0), (.25, .75, 1), (.75, .25, 2), (.75, .75, 3)):
        pixel = image.rgb[int(row * shape[0]), int(column * shape[1])]
        assert np.abs(pixel.astype(int) - COLOURS[colour]).max() <= 8


@pytest.mark.parametrize('encoding', ['rgb8', 'bgra8', 'mono16', 'bayer_rggb8', 'uyvy'])
def test_large_raw_images_are_averaged_where_less_is_enough(encoding: str) -> None:
    data = encode(encoding)
    if '16' in encoding:
        data = data.astype('<u2') << 8
    image = decode_image(raw(data, encoding, padding=6), (8, 3))
    factor = 1 if encoding in ('bayer_rggb8', 'uyvy') else 4
    assert image.rgb.shape == (HEIGHT // factor, WIDTH // factor, 3)
    assert (image.width, image.height) == (WIDTH, HEIGHT)
    for (row, column), colour in zip(MIDDLES, COLOURS, strict=True):
        expected = np.repeat(colour[1], 3) if encoding == 'mono16' else colour
        assert np.abs(image.rgb[row // factor, column // factor] - expected.astype(int)).max() <= 3


def broken_raw(**changes: Any) -> Any:
    message = raw(picture(), 'rgb8')
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(('message', 'named'), [
    (broken_raw(encoding='h264'), "'h264' is unknown; accepted: rgb8, bgr8"),
    (broken_raw(encoding=''), "'' is unknown"),
    (broken_raw(encoding='32FC1'), "'32FC1' is unknown"),
    (broken_raw(width=0), 'size 0x16 is empty'),
    (broken_raw(height=0), 'size 32x0 is empty'),
    (broken_raw(step=95), 'step is 95 bytes; a row of 32 pixels rgb8 needs 96'),
    (broken_raw(step=0), 'step is 0 bytes'),
    (broken_raw(step=97), 'has 1536 bytes; 16 rows of step 97 need 1552'),
    (broken_raw(data=array.array('B')), 'has 0 bytes'),
    (broken_raw(data=array.array('B', bytes(1535))), 'has 1535 bytes'),
    (broken_raw(width=2**32 - 1, step=2**32 - 1), 'needs 12884901885'),
    (broken_raw(encoding='uyvy', width=31, step=62), 'cannot be uyvy'),
    # Of these OpenCV makes black pictures.
    *((broken_raw(encoding='bayer_rggb8', width=width, height=height),
       f'{width}x{height} pixels is too small for a Bayer mosaic')
      for width, height in ((1, 1), (2, 2), (2, 16), (32, 2))),
    (compressed(jpeg(np.full((2, 64), 90, np.uint8), '.png'), 'bayer_rggb8; png'),
     '64x2 pixels is too small for a Bayer mosaic'),
    (compressed(b''), 'is empty'),
    (compressed(b'no image at all'), 'cannot be decoded; complete JPEG and PNG'),
    (compressed(jpeg(picture())[:-2]), 'is a truncated JPEG'),
    (compressed(jpeg(picture())[:200]), 'is a truncated JPEG'),
    (compressed(jpeg(picture())[:2] + b'\xff\xd9'), 'cannot be decoded'),
    (compressed(jpeg(picture(), '.png')[:-30], 'png'), 'is a truncated or damaged PNG'),
    (compressed(jpeg(picture(), '.png'), '16UC1; compressedDepth png'), 'is a depth image'),
    (compressed(jpeg(picture())[:60] + b'\x00' * 100 + b'\xff\xd9'), 'cannot be decoded'),
])
def test_faults_are_one_clear_line(message: Any, named: str) -> None:
    with pytest.raises(UserError) as caught:
        decode_image(message, (64, 32))
    assert named in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('bits', [10, 12, 14, 16])
@pytest.mark.parametrize('encoding', ['rgb16', 'mono16', 'bayer_rggb16'])
def test_the_bits_that_are_used_are_taken(encoding: str, bits: int) -> None:
    data = encode(encoding).astype('<u2') << (bits - 8)
    depth = BitDepth()
    image = decode_image(raw(data, encoding), bit_depth=depth)
    assert depth.bits == bits and (f'they use {bits}' in depth.note()) == (bits < 16)
    assert abs(int(image.rgb[4, 24].max()) - 180) <= 1   # the green quarter


def test_a_darker_image_keeps_the_scale_of_the_ones_before() -> None:
    depth = BitDepth()
    bright = np.full((HEIGHT, WIDTH), 4000, '<u2')
    assert decode_image(raw(bright, 'mono16'), bit_depth=depth).rgb.max() == 250
    assert decode_image(raw(bright // 16, 'mono16'), bit_depth=depth).rgb.max() == 15


def test_png_of_16_bits_uses_the_bits_that_are_there() -> None:
    data = cv2.imencode('.png', picture()[..., ::-1].astype(np.uint16) << 4)[1].tobytes()
    depth = BitDepth()
    message = compressed(data, 'rgb16; png compressed bgr16')
    see_bits(message, depth)
    assert depth.bits == 12
    assert (decode_image(message, bit_depth=depth).rgb == picture()).all()
    see_bits(compressed(jpeg(picture())), depth)
    assert depth.bits == 12


@pytest.mark.parametrize('kind', ['.jpg', '.png'])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_a_mosaic_in_a_jpeg_or_png_is_debayered(pattern: str, kind: str) -> None:
    name = f'bayer_{pattern}8'
    data = cv2.imencode(kind, encode(name), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    image = decode_image(compressed(data, f'{name}; jpeg compressed '), (8, 4))
    assert image.rgb.shape == (HEIGHT, WIDTH, 3)
    for (row, column), colour in zip(MIDDLES, COLOURS, strict=True):
        assert np.abs(image.rgb[row, column].astype(int) - colour).max() <= 6
    # One that the publisher has turned into colours is taken as it is.
    image = decode_image(compressed(jpeg(picture()), f'{name}; jpeg compressed bgr8'))
    assert np.abs(image.rgb[4, 24].astype(int) - COLOURS[1]).max() <= 8


@pytest.mark.parametrize('padding', [
    bytes(100), bytes(100_000), b'\xff' * 5000, jpeg(picture())[-200:] + bytes(9000)])
def test_a_jpeg_in_a_buffer_that_is_too_long(padding: bytes) -> None:
    image = decode_image(compressed(jpeg(picture()) + padding))
    assert np.abs(image.rgb[4, 24].astype(int) - COLOURS[1]).max() <= 8


def claim_size(data: bytes, width: int, height: int) -> bytes:
    """Return a JPEG or PNG whose header says another size."""
    changed = bytearray(data)
    if data.startswith(b'\x89PNG'):
        changed[16:24] = struct.pack('>II', width, height)
        changed[29:33] = struct.pack('>I', zlib.crc32(changed[12:29]))
    else:
        at = next(at for at in range(len(data)) if data[at:at + 2] in (b'\xff\xc0', b'\xff\xc2'))
        changed[at + 5:at + 9] = struct.pack('>HH', height, width)
    return bytes(changed)


@pytest.mark.parametrize('options', [
    ('.jpg', []), ('.jpg', [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]), ('.png', [])])
def test_a_bomb_is_refused_by_its_header(options: tuple[str, list[int]]) -> None:
    small = cv2.imencode(options[0], picture(), options[1])[1].tobytes()
    data = claim_size(small, 60_000, 60_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match='60000x60000 pixels large; at most 50000000 .*max_image'):
        decode_image(compressed(data), (64, 32))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000   # kB


def test_a_png_whose_chunk_claims_gigabytes_is_refused() -> None:
    data = bytearray(jpeg(picture(), '.png'))
    at = data.index(b'IDAT')
    data[at - 4:at] = b'\xff\xff\xff\xf0'
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match='is a truncated or damaged PNG'):
        decode_image(compressed(bytes(data)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000   # kB


def test_the_limit_of_pixels_counts_for_every_format() -> None:
    for message in (raw(picture(), 'rgb8'), raw(encode('nv12'), 'nv12'),
                    compressed(jpeg(picture())), compressed(jpeg(picture(), '.png'))):
        decode_image(message, max_pixels=WIDTH * HEIGHT)
        with pytest.raises(UserError, match='at most 511 pixels are accepted'):
            decode_image(message, max_pixels=WIDTH * HEIGHT - 1)


@pytest.mark.parametrize(('data', 'named'), [
    (jpeg(picture(), '.webp'), 'is a WebP; only JPEG and PNG'),
    (jpeg(picture(), '.bmp'), 'is a BMP; only JPEG and PNG'),
    (jpeg(picture(), '.tiff'), 'is a TIFF; only JPEG and PNG'),
    (jpeg(picture(), '.ppm'), 'is a PNM; only JPEG and PNG'),
    (b'\0\0\0\1\x67' + bytes(100), 'is a video frame (H.264 or H.265); only'),
])
def test_other_formats_are_refused_by_name(data: bytes, named: str) -> None:
    with pytest.raises(UserError) as caught:
        decode_image(compressed(data))
    assert named in str(caught.value) and '\n' not in str(caught.value)
