# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Forecasts to points, occupancy, risk and speed. No ROS, no torch."""
