# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Forecast what a camera will see: weighted futures of segmentation and depth for ROS 2."""

__version__ = '0.1.0'
