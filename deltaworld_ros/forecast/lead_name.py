# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a lead is called in topics and frames."""

from __future__ import annotations


def lead_name(seconds: float) -> str:
    """Name a lead (s) in whole milliseconds: lead_600ms."""
    return f'lead_{round(1000 * seconds)}ms'
