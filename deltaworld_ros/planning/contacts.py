# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Where obstacles stand on the ground, one place for each image column.

Depth is blurred over the edges of things, so that the points of a whole mask are a streak along
the line of sight. Where an obstacle meets the ground its depth is that of the ground beside it,
and blur changes nothing: there each column is measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle.semantic_class import Role, SemanticClass

ROLES: tuple[Role, ...] = ('static', 'dynamic')
# Rows of an obstacle over which its depth is taken, and how many make one.
_ROWS, _MIN_ROWS = 3, 2
# Rows at the lower edge of what stands behind another obstacle whose depth is mixed with it.
_BLURRED = 3
# Points are raised off the ground, or the height filters of planners take them for ground.
LIFT = 0.5   # m


@dataclass(frozen=True, eq=False)
class Contacts:
    """
    For maps (..., a, b): the nearest obstacle of each role and column, arrays (..., 2, b).

    `depth` is along the optical axis in the unit of the maps, NaN where there is no obstacle;
    `row` is the lowest one that shows it, `height` its number of rows, `label` its class.
    The roles are in the order of `ROLES`.
    """

    depth: NDArray[np.float32]
    row: NDArray[np.intp]
    height: NDArray[np.intp]
    label: NDArray[np.uint8]


def role_table(classes: Iterable[SemanticClass]) -> NDArray[np.uint8]:
    """Return for each possible label (256,) 1 + its place in `ROLES`, 0 where it is free."""
    table = np.zeros(256, np.uint8)
    for number, entry in enumerate(classes):
        if entry.role != 'traversable':
            table[number] = 1 + ROLES.index(entry.role)
    return table


def find_contacts(labels: NDArray[np.uint8], depth: NDArray[np.float32],
                  roles: NDArray[np.uint8]) -> Contacts:
    """Return the contacts of label and depth maps (..., a, b); `roles` is a `role_table`."""
    rows, columns = labels.shape[-2:]
    # The lowest row first: what stands lowest in the picture is nearest.
    role = roles[labels.reshape(-1, rows, columns)[:, ::-1]]
    upward = depth.reshape(-1, rows, columns)[:, ::-1]
    known = np.isfinite(upward)
    found = [_lowest(role, upward, known, 1 + index) for index in range(len(ROLES))]
    place, height, metres = (np.stack(one, axis=1) for one in zip(*found, strict=True))
    lowest = rows - 1 - place
    label = np.take_along_axis(
        labels.reshape(-1, 1, rows, columns), lowest[:, :, None], axis=2)[:, :, 0]
    shape = (*labels.shape[:-2], len(ROLES), columns)
    return Contacts(metres.reshape(shape), lowest.reshape(shape), height.reshape(shape),
                    label.reshape(shape))


def _lowest(role: NDArray[np.uint8], depth: NDArray[np.float32], known: NDArray[np.bool_],
            wanted: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return place, height and depth (n, b) of the lowest run of a role; rows go upward."""
    mask = (role == wanted) & known
    rows = mask.shape[1]
    tall = mask[:, :1 - _MIN_ROWS] & mask[:, _MIN_ROWS - 1:]
    start = tall.argmax(axis=1)
    seen = np.take_along_axis(tall, start[:, None], axis=1)[:, 0]
    upward = np.arange(rows)[None, :, None]
    ended = ~mask & (upward > start[:, None])
    end = np.where(ended.any(axis=1), ended.argmax(axis=1), rows)
    below = np.take_along_axis(role, np.maximum(start - 1, 0)[:, None], axis=1)[:, 0]
    hidden = (start > 0) & (below != 0)
    first = start + np.where(hidden, _BLURRED, 0)
    places = first[:, None] + np.arange(_ROWS)[None, :, None]
    values = np.take_along_axis(depth, np.minimum(places, rows - 1), axis=1)
    values = np.sort(np.where(places < end[:, None], values, np.inf), axis=1)
    count = np.clip(end - first, 0, _ROWS)
    median = np.take_along_axis(values, np.maximum(count - 1, 0)[:, None] // 2, axis=1)[:, 0]
    good = seen & np.isfinite(median)
    return start, end - start, np.where(good, median, np.float32(np.nan)).astype(np.float32)


def contact_points(contacts: Contacts, intrinsics: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Return points (..., 2, b, 3) of the contacts in the optical frame, NaN where there is none.

    They are raised to half of the obstacle's visible height, at most by `LIFT`, for a camera that
    is upright. `intrinsics` (3, 3) are of the maps.
    """
    z = contacts.depth.astype(np.float64)
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    lift = np.minimum(0.5 * contacts.height * z / fy, LIFT)
    down = (contacts.row + 0.5 - cy) / fy * z - lift
    return np.stack([(np.arange(z.shape[-1]) - cx) / fx * z, down, z], axis=-1)
