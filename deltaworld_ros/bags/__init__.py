# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings frame by frame, for evaluation, replay and training, without a ROS installation."""
