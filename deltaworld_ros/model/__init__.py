# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The paper's networks in torch, with the parameter names of the released checkpoints."""
