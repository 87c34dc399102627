# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How well samples match all true futures of a past, which only a simulated world can give.

`pasts` finds moments of the street world whose future is open, `futures` renders their true
futures with their probabilities, `cache` keeps them on disk, `measures` compares samples with
them, `evaluation` does so for any model, and `bundle_scores` for a bundle through its engine.
"""
