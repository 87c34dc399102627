# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node and what it needs: the only code that imports rclpy."""
