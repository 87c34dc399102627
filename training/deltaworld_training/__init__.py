# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Train the networks of a bundle: worlds, data, tokenizer, predictor, heads and metrics."""

import os

# As in deltaworld_ros: ONNX Runtime must not call its vendor.
os.environ['ORT_DISABLE_TELEMETRY'] = '1'

__version__ = '0.1.0'
