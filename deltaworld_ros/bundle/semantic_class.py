# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A class of the label maps: its name, its colour, and what it means for a robot's path."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

Role = Literal['traversable', 'static', 'dynamic']


class SemanticClass(BaseModel, extra='forbid', frozen=True):
    """
    One class of the label maps; its id is its place in `Manifest.classes`.

    `role` says what a planner makes of it: `traversable` is ground to move on, or nothing at all
    as the sky; `static` is in the way and stays where it is; `dynamic` is in the way and may move.
    """

    name: str
    color: tuple[int, int, int]
    role: Role
