# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What users choose about a camera, for parameters and commands; imports nothing."""

from __future__ import annotations

from enum import Enum


class Fit(str, Enum):
    """How a frame is fitted to the size that the bundle expects."""

    CROP = 'crop'
    SQUASH = 'squash'


class Rectified(str, Enum):
    """Whether images are rectified; auto goes by the topic's name and by what camera_info has."""

    AUTO = 'auto'
    TRUE = 'true'
    FALSE = 'false'


FITS = tuple(one.value for one in Fit)
RECTIFIED = tuple(one.value for one in Rectified)
