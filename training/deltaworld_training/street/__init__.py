# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A procedural street world: deterministic by seed, rendered with labels and metric depth.

`world` holds the simulation (`StreetWorld`: step, snapshot, branch), `renderer` turns its present
into a frame, and `clip` does both for a list of times. A world is made of `layout` (roads and lane
paths), `scenery` (what stands beside them, from `town` or `country`), `appearance` (light,
weather, colours), `vehicles` and `driving`, `pedestrians`, and a camera (`scene`). The world frame
is x forward, y left, z up, in metres; class ids are those of the shipped bundle.
"""
