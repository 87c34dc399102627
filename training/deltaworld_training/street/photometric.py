# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sensor effects on RGB images, rendered or real: exposure, colour, blur, noise and JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Sensor:
    """One camera's effects; keep it through a clip and redraw only the noise of each frame."""

    table: np.ndarray  # (256, 1, 3) uint8: exposure, gamma and white balance
    saturation: float
    blur: float  # sigma in pixels
    noise: float  # standard deviation, grey levels
    vignette: float  # darkening in the corners
    quality: int  # JPEG quality; 0: no compression


def sample_sensor(rng: np.random.Generator, strength: float = 1.0) -> Sensor:
    """Draw a camera's effects; a strength of 0 changes nothing."""
    gain = np.exp(strength * (rng.normal(0.0, 0.16) + rng.normal(0.0, 0.03, 3)))
    gamma = np.exp(strength * rng.normal(0.0, 0.13))
    lift = strength * rng.normal(0.0, 0.02)
    level = np.arange(256)[:, None] / 255.0
    # A soft shoulder keeps bright skies from clipping at once.
    value = (level**gamma * gain) * (1.0 - lift) + lift
    value = np.where(value > 0.85, 0.85 + 0.15 * np.tanh((value - 0.85) / 0.15), value)
    table = (np.clip(value if strength else level.repeat(3, 1), 0, 1) * 255 + 0.5).astype(np.uint8)
    blurred = rng.uniform() < 0.6 * strength
    compressed = rng.uniform() < 0.6 * strength
    return Sensor(
        table=table[:, None], saturation=float(np.exp(strength * rng.normal(0.0, 0.22))),
        blur=float(rng.uniform(0.3, 0.9)) if blurred else 0.0,
        noise=float(strength * rng.uniform(0.0, 5.0)),
        vignette=float(strength * max(0.0, rng.normal(0.05, 0.12))),
        quality=int(rng.integers(45, 95)) if compressed else 0)


def apply_sensor(image: np.ndarray, sensor: Sensor, rng: np.random.Generator) -> np.ndarray:
    """Return the image (h, w, 3) uint8 as the sensor would give it; `rng` draws the noise."""
    image = cv2.LUT(image, sensor.table)
    if abs(sensor.saturation - 1.0) > 1e-3:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = cv2.addWeighted(image, sensor.saturation, grey, 1.0 - sensor.saturation, 0.0)
    if sensor.blur > 0:
        image = cv2.GaussianBlur(image, (0, 0), sensor.blur)
    if sensor.vignette > 0:
        height, width = image.shape[:2]
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
        x = np.linspace(-1, 1, width, dtype=np.float32)[None] ** 2
        shade = (255 * (1.0 - sensor.vignette * (x + y) / 2).clip(0, 1)).astype(np.uint8)
        image = cv2.multiply(image, cv2.merge([shade] * 3), scale=1 / 255)
    if sensor.noise > 0:
        seed = int(rng.integers(2**31))
        grain = np.empty(image.shape, np.int16)
        cv2.setRNGSeed(seed)
        cv2.randn(grain, 0, sensor.noise)
        image = cv2.add(image, grain, dtype=cv2.CV_8U)
    if sensor.quality:
        _, data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, sensor.quality])
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return image
