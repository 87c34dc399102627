# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The maps of single leads inside the decode graph, for engines that compute only some of them.

Each is a value of the graph that its outputs are stacked from: no output itself, so that engines
which compute a whole graph need not know them. Graphs of older bundles lack them.
"""

from __future__ import annotations

FUTURE_MAPS = ('labels', 'depth')
FUSED_MAPS = ('fused_labels', 'fused_depth', 'confidence')


def lead_output(name: str, lead: int) -> str:
    """Name the value that is one lead's part of an output; lead 0 is the present."""
    return f'{name}_of_lead_{lead}'


def lead_outputs(steps: int) -> list[str]:
    """Name them all in the order in which the decode graph makes them."""
    return [
        *(lead_output(name, lead) for name in FUTURE_MAPS for lead in range(1, steps + 1)),
        *(lead_output(name, lead) for name in FUSED_MAPS for lead in range(steps + 1))]
