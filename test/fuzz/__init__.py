# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fuzzers, a file a kind of input: `make fuzz` runs each, the tests a few cases of each."""
