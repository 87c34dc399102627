# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The stages of training: feature basis, tokenizer, predictor, heads, baselines."""
