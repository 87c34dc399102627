# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The labels and depth of a clip as the heads are trained on them: at every fourth pixel."""

import numpy as np

from deltaworld_ros.camera.map_resize import reduce_map
from deltaworld_training.data.clip import LABEL_STRIDE, Clip
from deltaworld_training.data.crops import canonical_depth
from deltaworld_training.data.recordings import UNLABELLED


def truth_maps(clip: Clip, focal_length: float) -> tuple[np.ndarray, np.ndarray]:
    """
    Return labels (F, h/4, w/4) uint8 and depth (F, h/4, w/4) float32 in metres.

    Depth is for a camera of `focal_length` pixels of the clip's frames. Labels are 255 and depth
    is NaN where the clip does not know them.
    """
    count, height, width = clip.frames.shape[:3]
    size = (width // LABEL_STRIDE, height // LABEL_STRIDE)
    depth = canonical_depth(clip, focal_length)
    return (
        np.full((count, *size[::-1]), UNLABELLED, np.uint8) if clip.labels is None
        else np.stack([reduce_map(labels, size) for labels in clip.labels]),
        np.full((count, *size[::-1]), np.nan, np.float32) if depth is None
        else np.stack([reduce_map(one, size) for one in depth]),
    )
