# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Score forecasts of a recorded drive against what really came; needs no ROS installation."""
