# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The risk of keeping a speed: margins to the braking distance over weighted futures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# A margin beyond this is as good as this one (m): a far future must not make up for a near one.
AMPLE = 2.0


@dataclass(frozen=True)
class Braking:
    """How the robot brakes: after `reaction` s, by `deceleration` m/s2, `standstill` m short."""

    reaction: float = 0.3
    deceleration: float = 3.0
    standstill: float = 1.0

    def distance(self, speed: ArrayLike, seconds: float) -> NDArray[np.float64]:
        """Return how far (m) the robot gets in some seconds when it brakes from now on."""
        speed = np.asarray(speed, np.float64)
        braking = np.clip(seconds - self.reaction, 0, speed / self.deceleration)
        return (speed * (min(seconds, self.reaction) + braking)
                - 0.5 * self.deceleration * braking**2)

    def stopping_distance(self, speed: ArrayLike) -> NDArray[np.float64]:
        """Return the distance to a stop in m."""
        speed = np.asarray(speed, np.float64)
        return speed * self.reaction + speed**2 / (2 * self.deceleration)


@dataclass(frozen=True, eq=False)
class Risk:
    """
    The risk of a speed, at each lead (S,) and over all: `level` is the share behind the CVaR.

    `probability` is the weight of the futures whose margin is negative; `cvar` (m) is the mean
    margin of the worst futures. `first_conflict` is the least lead (s) whose CVaR is negative.
    """

    leads: tuple[float, ...]
    probability: NDArray[np.float64]
    cvar: NDArray[np.float64]
    any_probability: float
    any_cvar: float
    first_conflict: float | None


@dataclass(frozen=True)
class Trust:
    """
    What a forecast may take away of the caution that present maps ask for.

    With `release` a free way in a forecast outweighs an obstacle that is there now, and an
    obstacle that goes on ahead is taken to brake by `lead_deceleration` m/s2 after the last lead
    instead of standing where it is; its speed is the least that the leads show.
    """

    release: bool = False
    lead_deceleration: float = math.inf


def margins(free: NDArray[np.float64], leads: Sequence[float], speed: float, braking: Braking,
            trust: Trust = Trust()) -> NDArray[np.float64]:
    """
    Return the margins (K, S) in m, at most `AMPLE`, of a robot that brakes from now on.

    `free` (K, S) is the distance to the nearest obstacle at each lead (s), the present first. At
    a lead the robot must not have come nearer than the standstill distance; after the last lead,
    and also for what is there at present, obstacles are taken to stay where they are until it
    stands.
    So a forecast makes the robot slower and never faster than the present would, unless `trust`
    lets it.
    """
    distances = np.array([float(braking.distance(speed, lead)) for lead in leads])
    distances[-1] = float(braking.stopping_distance(speed))
    if not trust.release:
        distances[0] = distances[-1]
    elif len(leads) > 1:
        free = free.copy()
        free[:, -1] += np.minimum(_going(free, leads), speed)**2 / (2 * trust.lead_deceleration)
    return np.minimum(free - distances - braking.standstill, AMPLE)


def _going(free: NDArray[np.float64], leads: Sequence[float]) -> NDArray[np.float64]:
    """Return the least speed (K,) between leads at which the nearest obstacle goes on, or 0."""
    passed = np.maximum(np.diff(leads), 1e-6)
    # Where one end is free there is no speed; a nearer one that leaves would look fast.
    known = np.asarray(np.isfinite(free).all(axis=1))
    gained = np.diff(np.where(known[:, None], free, 0.0), axis=1)
    return np.clip((gained / passed).min(axis=1), 0.0, None)


def cvar(values: NDArray[np.float64], weights: ArrayLike, level: float) -> float:
    """
    Return the mean of the lowest values (K,) that make up a share `level` of the weights.

    The future on the boundary counts by the part of its weight that is needed to fill the share
    (Rockafellar and Uryasev, 2002).
    """
    order = np.argsort(values, kind='stable')
    share = np.asarray(weights, np.float64)[order]
    share = share / share.sum()
    taken = np.clip(level - (np.cumsum(share) - share), 0, share)
    return float(taken @ values[order] / taken.sum())


def assess(free: NDArray[np.float64], leads: Sequence[float], weights: NDArray[np.floating],
           speed: float, braking: Braking, level: float, trust: Trust = Trust()) -> Risk:
    """Return the risk of a speed (m/s); the arguments are those of `margins` and `cvar`."""
    return summarise(margins(free, leads, speed, braking, trust), leads, weights, level)


def summarise(table: NDArray[np.float64], leads: Sequence[float], weights: NDArray[np.floating],
              level: float) -> Risk:
    """Return the risk that margins (K, S) in m of weighted futures mean at their leads (s)."""
    share = np.asarray(weights, np.float64) / np.sum(weights, dtype=np.float64)
    tails = np.array([cvar(one, share, level) for one in table.T])
    worst = table.min(axis=1)
    conflicts = [lead for lead, tail in zip(leads, tails, strict=True) if tail < 0]
    return Risk(tuple(leads), share @ (table < 0), tails, float(share @ (worst < 0)),
                cvar(worst, share, level), min(conflicts) if conflicts else None)
