# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames in, weighted futures out: context, sampling and selection in plain NumPy."""

from deltaworld_ros.camera.depth_scale import depth_scale
from deltaworld_ros.camera.image_fit import ImageFit
from deltaworld_ros.forecast.forecaster import Forecast, Forecaster, Observed
from deltaworld_ros.forecast.frame_gate import Odd, Restart

__all__ = ['Forecast', 'Forecaster', 'ImageFit', 'Observed', 'Odd', 'Restart', 'depth_scale']
