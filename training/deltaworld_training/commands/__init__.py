# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One file a command of `deltaworld train`; cli.py registers them."""
