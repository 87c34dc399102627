# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of moments for the report, and the animated picture of a drive."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from deltaworld_ros.bundle.semantic_class import SemanticClass
from deltaworld_ros.evaluate.moments import Moment
from deltaworld_ros.forecast.view import color_depth, color_labels, without_sky

RIGHT_COLOR, WRONG_COLOR, UNKNOWN_COLOR = (222, 226, 230), (214, 40, 57), (40, 40, 40)


def data_uri(rgb: np.ndarray) -> str:
    """Return an RGB picture as a PNG (few colours) or JPEG (photographs) data URI."""
    few_colors = len(np.unique(rgb.reshape(-1, 3)[::7], axis=0)) < 256
    suffix, options = ('.png', []) if few_colors else ('.jpg', [cv2.IMWRITE_JPEG_QUALITY, 88])
    _, data = cv2.imencode(suffix, rgb[..., ::-1], options)
    kind = 'png' if few_colors else 'jpeg'
    return f'data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode()}'


def moment_pictures(moment: Moment, classes: Sequence[SemanticClass]) -> dict[str, str]:
    """Return every single picture of a moment by name, as data URIs."""
    near, far = _depth_range(moment)
    pictures = {
        'image': moment.image,
        'future_image': moment.future_image,
        'present': color_labels(moment.present_labels, classes),
        'fused': color_labels(moment.fused_labels, classes),
        'true': color_labels(moment.true_labels, classes),
        'fused_depth': color_depth(
            without_sky(moment.fused_depth, moment.fused_labels, classes), near, far),
        'true_depth': color_depth(
            without_sky(moment.true_depth, moment.true_labels, classes), near, far),
        'confidence': color_confidence(moment.confidence),
        'forecast_errors': color_errors(moment.fused_labels, moment.true_labels),
        'copy_errors': color_errors(moment.present_labels, moment.true_labels),
    }
    return {name: data_uri(picture) for name, picture in pictures.items()}


def slider_pictures(moment: Moment, classes: Sequence[SemanticClass]) -> dict[str, str]:
    """Return what the slider flips between, as data URIs."""
    pictures = {
        'camera': moment.future_image,
        'forecast': color_labels(moment.fused_labels, classes),
        'truth': color_labels(moment.true_labels, classes),
        'copy': color_labels(moment.present_labels, classes),
    }
    return {name: data_uri(picture) for name, picture in pictures.items()}


def future_pictures(moment: Moment, classes: Sequence[SemanticClass]) -> list[str]:
    """Return the label map of each future as a data URI."""
    return [data_uri(color_labels(labels, classes)) for labels in moment.labels]


def color_confidence(confidence: np.ndarray) -> np.ndarray:
    """Paint confidence in 0..1 (a,b) from dark (the futures disagree) to bright (they agree)."""
    levels = np.rint(255 * np.clip(confidence, 0, 1)).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def color_errors(labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Paint pixels (a,b) red where the class is wrong; where none is known they are dark."""
    picture = np.where((labels == truth)[..., None], RIGHT_COLOR, WRONG_COLOR).astype(np.uint8)
    picture[truth == 255] = UNKNOWN_COLOR
    return picture


def write_animation(path: Path, frames: Sequence[np.ndarray], seconds_per_frame: float,
                    small: bool = False) -> None:
    """Write RGB pictures of one size as an endless animated WebP; `small` at a third of bytes."""
    images = [Image.fromarray(frame) for frame in frames]
    quality, method = (22, 6) if small else (70, 2)
    images[0].save(path, save_all=True, append_images=images[1:], loop=0, quality=quality,
                   method=method, duration=round(1000 * seconds_per_frame))


def side_by_side(panels: Sequence[tuple[str, np.ndarray]], width: int, height: int) -> np.ndarray:
    """Set captioned RGB pictures beside each other, each `width` x `height` pixels."""
    bar, gap = 24, 6
    canvas = Image.new('RGB', (len(panels) * (width + gap) - gap, height + bar), 'white')
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for index, (caption, picture) in enumerate(panels):
        left = index * (width + gap)
        smooth = picture.shape[1] >= width
        panel = Image.fromarray(picture).resize(
            (width, height), Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST)
        canvas.paste(panel, (left, bar))
        draw.text((left + 2, 3), caption, (30, 34, 40), font)
    return np.asarray(canvas)


def _depth_range(moment: Moment) -> tuple[float, float]:
    """Choose one range of colours for both depth pictures of a moment."""
    known = moment.true_depth[np.isfinite(moment.true_depth) & (moment.true_depth > 0)]
    if not known.size:
        return 1.0, 100.0
    near, far = np.percentile(known, [1, 99])
    return float(near), float(max(far, 2 * near))
