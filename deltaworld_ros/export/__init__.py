# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Networks to bundles: graphs, precision, conversion of checkpoints, cost. Needs torch."""
