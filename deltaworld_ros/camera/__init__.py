# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Images and intrinsics: decoding, fitting and depth scale, without ROS."""
