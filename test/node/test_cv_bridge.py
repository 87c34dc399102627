# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Encodings that we do not know go to `cv_bridge`.

It is replaced here: its wheel does not import beside this NumPy.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from deltaworld_ros.errors import UserError
from deltaworld_ros.node import image_decoding

HEIGHT, WIDTH = 16, 32
SEEN = (200, 60, 30)


class CvBridge:
    """Convert what has the encoding yuv411 to a fixed colour, as `cv_bridge` would."""

    def imgmsg_to_cv2(self, message: Any, desired: str) -> Any:
        assert desired == 'rgb8'
        if message.encoding == 'odd':
            return np.zeros((HEIGHT, WIDTH), np.float32)
        if message.encoding != 'yuv411':
            raise cv2.error(f'Unrecognized image encoding\n[{message.encoding}]')
        return np.full((message.height, message.width, 3), SEEN, np.uint8)


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    image_decoding.bridge.cache_clear()
    yield
    image_decoding.bridge.cache_clear()


def message(encoding: str, values: int = 2) -> Any:
    return SimpleNamespace(
        encoding=encoding, width=WIDTH, height=HEIGHT, step=3 * WIDTH, is_bigendian=0,
        data=bytes([values]) * (3 * WIDTH * HEIGHT))


def test_the_bridge_decodes_what_we_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType('cv_bridge')
    package.CvBridge = CvBridge  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, 'cv_bridge', package)
    image = image_decoding.decode_image(message('yuv411'), (8, 8))
    assert (image.width, image.height) == (WIDTH, HEIGHT)
    assert (image.rgb == SEEN).all()
    # Ours stay ours.
    assert (image_decoding.decode_image(message('rgb8')).rgb == 2).all()
    with pytest.raises(UserError, match='too large; at most 100 pixels'):
        image_decoding.decode_image(message('yuv411'), max_pixels=100)
    with pytest.raises(UserError, match=r"'h264' is unknown to this node, and cv_bridge .*\[h264"):
        image_decoding.decode_image(message('h264'))
    with pytest.raises(UserError, match=r"'odd': cv_bridge made an array \(16, 32\) float32"):
        image_decoding.decode_image(message('odd'))


@pytest.mark.parametrize('failure', [ImportError, AttributeError, SystemError])
def test_without_the_bridge_the_encoding_is_refused(
        failure: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise failure('_ARRAY_API not found')
    monkeypatch.setitem(sys.modules, 'cv_bridge', Broken('cv_bridge'))
    with pytest.raises(UserError, match="'yuv411' is unknown; accepted: rgb8"):
        image_decoding.decode_image(message('yuv411'))
