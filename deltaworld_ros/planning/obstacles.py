# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The obstacles of a forecast as points in one frame, each with its lead and future."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.forecast.forecaster import Forecast
from deltaworld_ros.planning.contacts import ROLES, Contacts, contact_points, find_contacts
from deltaworld_ros.planning.pose import Pose

# The future of what is there now, and of what the fused maps show.
EVERY_FUTURE = -1


@dataclass(frozen=True, eq=False)
class Obstacles:
    """
    n points (n, 3) in m; everything else is (n,).

    `label` is a class, `dynamic` says that its role is so, `lead` is in s, `future` counts the
    futures by descending weight, or is `EVERY_FUTURE`. `probability` is the weight of a point's
    future, or how sure the fused maps are of the class.
    """

    points: NDArray[np.float32]
    label: NDArray[np.uint8]
    dynamic: NDArray[np.bool_]
    probability: NDArray[np.float32]
    lead: NDArray[np.float32]
    future: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.label)

    def where(self, chosen: NDArray[np.bool_]) -> Obstacles:
        """Return some of the points; `chosen` is (n,)."""
        return Obstacles(*(values[chosen] for values in _fields(self)))


def fused_obstacles(forecast: Forecast, intrinsics: NDArray[np.float64],
                    cameras: Sequence[Pose], roles: NDArray[np.uint8]) -> Obstacles:
    """
    Return the obstacles of the fused maps, the present included.

    The forecast's depth is in m, `intrinsics` (3, 3) are of its maps, `roles` is a `role_table`.
    `cameras` has for each of its leads the camera's pose in the frame of the result.
    """
    contacts = find_contacts(forecast.fused_labels, forecast.fused_depth, roles)
    lead, _, column = np.nonzero(np.isfinite(contacts.depth))
    row = contacts.row[np.isfinite(contacts.depth)]
    return _obstacles(contacts, intrinsics, cameras, np.array(forecast.leads), lead,
                      np.full(len(lead), EVERY_FUTURE), forecast.confidence[lead, row, column])


def future_obstacles(forecast: Forecast, intrinsics: NDArray[np.float64],
                     cameras: Sequence[Pose], roles: NDArray[np.uint8]) -> Obstacles:
    """
    Return the obstacles of the present, which every future shares, and of each future.

    The arguments are those of `fused_obstacles`. A forecast of the present alone, while a context
    fills, gives the present alone.
    """
    leads = np.array(forecast.leads)
    now = find_contacts(forecast.fused_labels[:1], forecast.fused_depth[:1], roles)
    lead = np.nonzero(np.isfinite(now.depth))[0]
    present = _obstacles(now, intrinsics, cameras, leads, lead,
                         np.full(len(lead), EVERY_FUTURE), np.ones(len(lead)))
    if forecast.labels is None or forecast.depth is None:
        return present
    # All maps at once: one by one they take three times as long.
    contacts = find_contacts(forecast.labels, forecast.depth, roles)
    future, step = np.nonzero(np.isfinite(contacts.depth))[:2]
    ahead = _obstacles(contacts, intrinsics, cameras, leads, step + 1, future,
                       forecast.weights[future])
    return Obstacles(*(np.concatenate(pair) for pair in zip(
        _fields(present), _fields(ahead), strict=True)))


def _obstacles(contacts: Contacts, intrinsics: NDArray[np.float64], cameras: Sequence[Pose],
               leads: NDArray[np.float64], lead: NDArray[np.intp], future: NDArray[np.intp],
               probability: NDArray[np.floating]) -> Obstacles:
    """Put the contacts that were found, in order, into the frame of the cameras' poses."""
    seen = np.isfinite(contacts.depth)
    points = contact_points(contacts, intrinsics)[seen]
    for place, camera in enumerate(cameras):
        points[lead == place] = camera.apply(points[lead == place])
    return Obstacles(
        points.astype(np.float32), contacts.label[seen],
        np.nonzero(seen)[-2] == ROLES.index('dynamic'), probability.astype(np.float32),
        leads[lead].astype(np.float32), future.astype(np.int16))


def _fields(one: Obstacles) -> tuple[NDArray[Any], ...]:
    return (one.points, one.label, one.dynamic, one.probability, one.lead, one.future)
