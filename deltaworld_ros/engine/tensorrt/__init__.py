# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Build the graphs of a bundle as TensorRT or TensorRT-RTX engines and run them on a GPU."""
