# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The look of a camera and its sensor, the same for all frames of a clip."""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Look:
    """Tone curve of each colour (256, 3), saturation, blur in pixels, noise and JPEG quality."""

    curve: np.ndarray
    saturation: float
    blur: float
    noise: float
    quality: int | None


def sample_look(generator: np.random.Generator) -> Look:
    """Draw exposure, contrast, colour temperature and the sensor's defects."""
    level = np.linspace(0.0, 1.0, 256)[:, None]
    gamma = generator.uniform(0.75, 1.35)
    gain = generator.uniform(0.6, 1.1) * generator.uniform(0.93, 1.07, 3)
    lift = generator.uniform(-0.04, 0.06)
    curve = np.clip(level ** gamma * gain + lift, 0.0, 1.0)
    return Look(
        curve=(255.0 * curve).astype(np.uint8),
        saturation=generator.uniform(0.55, 1.3),
        blur=max(0.0, generator.uniform(-0.5, 0.9)),
        noise=max(0.0, generator.uniform(-3.0, 7.0)),
        quality=int(generator.integers(50, 95)) if generator.random() < 0.6 else None,
    )


def apply_look(image: np.ndarray, look: Look, generator: np.random.Generator) -> np.ndarray:
    """Apply a look to an image (h, w, 3) uint8 RGB; only the noise differs between frames."""
    image = np.stack([look.curve[image[..., c], c] for c in range(3)], axis=-1)
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    image = cv2.addWeighted(image, look.saturation, gray, 1.0 - look.saturation, 0.0)
    if look.blur > 0.2:
        image = cv2.GaussianBlur(image, (5, 5), look.blur)
    if look.noise > 0.0:
        noise = np.empty(image.shape, np.int16)
        cv2.setRNGSeed(int(generator.integers(2 ** 31)))
        cv2.randn(noise, np.zeros(3), np.full(3, look.noise))
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if look.quality is not None:
        _, data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, look.quality])
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return image
