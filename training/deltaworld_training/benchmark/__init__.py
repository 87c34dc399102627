# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The paper's dense forecasting benchmark on VSPW, Cityscapes and KITTI, as the release scores."""
