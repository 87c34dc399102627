# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Looks for training heads: much stronger than a camera's own, each frame on its own.

A frozen backbone and linear heads know only the textures that they have seen. The street
world's are plain, so each class is repainted with another brightness and another pattern, and
every picture gets light, sharpness, noise and compression of very different cameras. Nothing
moves: labels and depth stay valid.
"""

import cv2
import numpy as np

from deltaworld_training.data.photometric import Look, apply_look

CLASSES = 16


def strong_look(
    image: np.ndarray, generator: np.random.Generator, labels: np.ndarray | None = None,
) -> np.ndarray:
    """
    Return an image (h, w, 3) uint8 RGB with a look drawn at random.

    labels (h, w): the classes to repaint one by one; without them the picture keeps its textures.
    """
    picture = image.astype(np.float32) / 255.0
    if labels is not None:
        picture *= _textures(labels, generator)
    picture *= _light(picture.shape[:2], generator)
    if generator.random() < 0.3:
        picture = _veil(picture, generator)
    picture = np.clip(picture, 0.0, 1.0)
    if generator.random() < 0.35:
        picture = _resampled(picture, generator)
    if generator.random() < 0.3:
        blurred = cv2.GaussianBlur(picture, (0, 0), generator.uniform(0.7, 1.6))
        picture = picture + generator.uniform(0.3, 1.5) * (picture - blurred)
    mixed = np.asarray(np.clip(255.0 * picture, 0, 255), np.uint8)
    return apply_look(mixed, _camera(generator), generator)


def _camera(generator: np.random.Generator) -> Look:
    """Draw a wider range of tone curves, colours and defects than `sample_look`."""
    level = np.linspace(0.0, 1.0, 256)[:, None]
    level = level ** np.exp(generator.uniform(-0.6, 0.6))
    steep = generator.uniform(0.0, 1.0) * generator.integers(0, 2)
    level = (1.0 - steep) * level + steep * level * level * (3.0 - 2.0 * level)
    gain = generator.uniform(0.5, 1.3) * np.exp(generator.normal(0.0, 0.08, 3))
    curve = np.clip(level * gain + generator.uniform(-0.07, 0.12), 0.0, 1.0)
    return Look(
        curve=(255.0 * curve).astype(np.uint8),
        saturation=generator.uniform(0.15, 1.5),
        blur=max(0.0, generator.uniform(-0.9, 1.3)),
        noise=max(0.0, generator.uniform(-6.0, 12.0)),
        quality=int(generator.integers(25, 95)) if generator.random() < 0.7 else None,
    )


def _field(
    shape: tuple[int, int], cells: float, generator: np.random.Generator,
) -> np.ndarray:
    """Return smooth noise (h, w) of unit variance with about `cells` bumps along the width."""
    columns = max(2, round(cells))
    rows = max(2, round(cells * shape[0] / shape[1]))
    coarse = generator.normal(size=(rows, columns)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC))


def _light(shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Return uneven light (h, w, 1): clouds' shadows, a gradient and a lens's dark corners."""
    strength = generator.uniform(0.0, 0.15)
    light = strength * _field(shape, generator.uniform(2, 8), generator)
    rows, columns = np.mgrid[-1:1:shape[0] * 1j, -1:1:shape[1] * 1j]
    light = light + generator.normal(0.0, 0.12) * rows - generator.uniform(0.0, 0.25) * (
        rows ** 2 + columns ** 2)
    return np.exp(light)[..., None].astype(np.float32)


def _veil(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Mix haze or glare into a picture, strongest at some height."""
    height = np.linspace(0.0, 1.0, picture.shape[0])[:, None, None]
    share = generator.uniform(0.05, 0.45) * np.exp(
        -((height - generator.uniform(0.0, 0.6)) / generator.uniform(0.1, 0.6)) ** 2)
    colour = np.float32(generator.uniform(0.5, 1.0)) * (
        1.0 + generator.normal(0.0, 0.06, 3)).astype(np.float32)
    mixed = picture * (1.0 - share) + colour * share
    return np.asarray(mixed, np.float32)


def _resampled(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Lose detail as a camera of fewer pixels does."""
    height, width = picture.shape[:2]
    scale = generator.uniform(0.45, 0.95)
    small = cv2.resize(picture, (round(width * scale), round(height * scale)),
                       interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def _textures(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return gains (h, w, 3) for each class: another brightness, tint and pattern."""
    shape = (labels.shape[0], labels.shape[1])
    brightness = np.exp(generator.normal(0.0, 0.22, CLASSES))
    tint = np.exp(generator.normal(0.0, 0.07, (CLASSES, 3)))
    depth = generator.uniform(0.0, 0.12, CLASSES) * generator.integers(0, 2, CLASSES)
    kinds = np.minimum(labels, CLASSES - 1)
    fields = np.stack([_field(shape, cells, generator) for cells in (24, 70, 160)])
    pattern = np.take_along_axis(
        fields, generator.integers(0, 3, CLASSES)[kinds][None], axis=0)[0]
    gains = brightness[kinds] * np.exp(depth[kinds] * pattern)
    return np.asarray(gains[..., None] * tint[kinds], np.float32)
