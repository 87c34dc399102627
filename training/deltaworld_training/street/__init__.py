# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A procedural street world: deterministic by seed, rendered with labels and metric depth."""
