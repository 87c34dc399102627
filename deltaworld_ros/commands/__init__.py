# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The commands of `deltaworld` that have a file of their own."""
