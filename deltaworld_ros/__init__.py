# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Forecast what a camera will see: weighted futures of segmentation and depth for ROS 2."""

import os

# ONNX Runtime 1.29 and later write an id of the device into the home and look up their vendor's
# host, unless this is set before they are imported. A robot's software calls nobody.
os.environ['ORT_DISABLE_TELEMETRY'] = '1'

__version__ = '0.1.0'
