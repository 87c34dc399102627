# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Train the networks of a bundle: worlds, data, tokenizer, predictor, heads and metrics."""

__version__ = '0.1.0'
