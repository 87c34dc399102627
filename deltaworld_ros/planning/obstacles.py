# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The obstacles of a forecast as points in one frame, each with its lead and future."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.forecast.forecaster import Forecast
from deltaworld_ros.planning.contacts import ROLES, contact_points, find_contacts
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
        return Obstacles(
            self.points[chosen], self.label[chosen], self.dynamic[chosen],
            self.probability[chosen], self.lead[chosen], self.future[chosen])


def fused_obstacles(forecast: Forecast, intrinsics: NDArray[np.float64],
                    cameras: Sequence[Pose], roles: NDArray[np.uint8]) -> Obstacles:
    """
    Return the obstacles of the fused maps, the present included.

    The forecast's depth is in m, `intrinsics` (3, 3) are of its maps, `roles` is a `role_table`.
    `cameras` has for each of its leads the camera's pose in the frame of the result.
    """
    leads = range(len(forecast.leads))
    return _joined([
        _of_maps(forecast.fused_labels[lead], forecast.fused_depth[lead], intrinsics,
                 cameras[lead], roles, forecast.leads[lead], EVERY_FUTURE,
                 forecast.confidence[lead]) for lead in leads])


def future_obstacles(forecast: Forecast, intrinsics: NDArray[np.float64],
                     cameras: Sequence[Pose], roles: NDArray[np.uint8]) -> Obstacles:
    """
    Return the obstacles of the present, which every future shares, and of each future.

    The arguments are those of `fused_obstacles`. A forecast of the present alone, while a context
    fills, gives the present alone.
    """
    parts = [_of_maps(forecast.fused_labels[0], forecast.fused_depth[0], intrinsics, cameras[0],
                      roles, 0.0, EVERY_FUTURE, 1.0)]
    if forecast.labels is not None and forecast.depth is not None:
        parts += [
            _of_maps(forecast.labels[future, lead - 1], forecast.depth[future, lead - 1],
                     intrinsics, cameras[lead], roles, forecast.leads[lead], future,
                     float(forecast.weights[future]))
            for future in range(len(forecast.weights)) for lead in range(1, len(forecast.leads))]
    return _joined(parts)


def _of_maps(labels: NDArray[np.uint8], depth: NDArray[np.float32],
             intrinsics: NDArray[np.float64], camera: Pose, roles: NDArray[np.uint8], lead: float,
             future: int, probability: float | NDArray[np.float32]) -> Obstacles:
    contacts = find_contacts(labels, depth, roles)
    seen = np.isfinite(contacts.depth)
    role, column = np.nonzero(seen)
    number = len(role)
    sure = probability if isinstance(probability, float) else \
        probability[contacts.row[seen], column]
    return Obstacles(
        camera.apply(contact_points(contacts, intrinsics)[seen]).astype(np.float32),
        contacts.label[seen], role == ROLES.index('dynamic'),
        np.broadcast_to(np.float32(sure), number), np.full(number, lead, np.float32),
        np.full(number, future, np.int16))


def _joined(parts: Sequence[Obstacles]) -> Obstacles:
    return Obstacles(
        np.concatenate([one.points for one in parts]),
        np.concatenate([one.label for one in parts]),
        np.concatenate([one.dynamic for one in parts]),
        np.concatenate([one.probability for one in parts]),
        np.concatenate([one.lead for one in parts]),
        np.concatenate([one.future for one in parts]))
