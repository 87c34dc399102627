# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Does a planner gain by forecasts? One governor on several kinds of information in the street world.

The ego accelerates and brakes along its route as the governor lets it; all others react to it.
"""
