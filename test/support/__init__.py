# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What several tests share, importable as `support` (pytest puts test/ on the path)."""
