# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The highest speed at which the robot can still stop, by forecasts, present maps or neither."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.planning.corridor import Corridor, nearest_ahead
from deltaworld_ros.planning.obstacles import Obstacles
from deltaworld_ros.planning.risk import Braking, Trust, cvar, margins

_CANDIDATES = 41
# Slower than this the curvature of a command says nothing (m/s).
_MIN_SPEED = 0.05


class Basis(Enum):
    """What a speed was chosen by, best first."""

    FORECAST = 'forecast'
    PRESENT = 'present maps'
    SAFE_SPEED = 'safe speed'


@dataclass(frozen=True, eq=False)
class Scene:
    """
    Obstacles in the robot's frame at `stamp` (s), its x axis forward.

    `leads` (s) begin with 0, `weights` (K,) are those of the futures; the present alone has one
    lead.
    """

    stamp: float
    leads: tuple[float, ...]
    weights: NDArray[np.float32]
    obstacles: Obstacles


@dataclass(frozen=True)
class Rules:
    """
    What the governor holds to; m, s, m/s and m/s2.

    `level` is the share of the worst futures whose mean margin must not be negative. A forecast
    older than `forecast_age` counts by its present maps, and a scene older than `scene_age` not at
    all: then the speed is at most `safe_speed`. Speeds rise by `acceleration`, once the way
    was free for `hold`.
    """

    braking: Braking = Braking()
    half_width: float = 0.6
    front: float = 0.5
    level: float = 0.2
    forecast_age: float = 0.4
    scene_age: float = 0.8
    safe_speed: float = 0.0
    acceleration: float = 1.0
    hold: float = 0.5
    trust: Trust = Trust()


@dataclass(frozen=True)
class Decision:
    """The speed (m/s) that is let through, what it was chosen by, and why not by better."""

    speed: float
    basis: Basis
    reason: str = ''


class SpeedGovernor:
    """
    Limits commanded speeds, one call a command; for use by one thread at a time.

    `speed` (m/s) is what was let through before the first command: a robot stands as a rule.
    """

    def __init__(self, rules: Rules, speed: float = 0.0) -> None:
        self.rules = rules
        self._speed = speed
        self._time = -math.inf
        self._free_since: float | None = None

    def limit(self, now: float, speed: float, yaw_rate: float, scene: Scene | None) -> Decision:
        """
        Return the speed that is let through of a command (m/s, rad/s) at a time (s).

        The camera sees nothing behind, so that a robot never reverses faster than the safe speed.
        """
        if not (math.isfinite(speed) and math.isfinite(yaw_rate)):
            return Decision(0.0, Basis.SAFE_SPEED, 'the command is not finite')
        if speed < 0:
            return Decision(max(speed, -self.rules.safe_speed), Basis.SAFE_SPEED,
                            'the command goes backwards, where the camera sees nothing')
        decision = self.highest_speed(now, speed, yaw_rate, scene)
        return Decision(self._debounced(now, speed, decision.speed), decision.basis,
                        decision.reason)

    def highest_speed(self, now: float, speed: float, yaw_rate: float, scene: Scene | None,
                      ) -> Decision:
        """Return the highest admissible speed up to a command's, before it is debounced."""
        basis, reason = judge_scene(now, scene, self.rules)
        if scene is None or basis is Basis.SAFE_SPEED:
            return Decision(min(speed, self.rules.safe_speed), Basis.SAFE_SPEED, reason)
        curvature = yaw_rate / speed if speed > _MIN_SPEED else 0.0
        corridor = Corridor(curvature, self.rules.half_width, self.rules.front)
        leads, weights = scene.leads, scene.weights
        if basis is Basis.PRESENT:
            leads, weights = leads[:1], np.ones(1, np.float32)
        # Since its stamp the robot went on, and its leads came nearer.
        passed = max(0.0, now - scene.stamp)
        free = nearest_ahead(scene.obstacles, corridor, leads, len(weights)) \
            - self._speed * passed
        leads = tuple(max(0.0, lead - passed) for lead in leads)
        for candidate in np.linspace(speed, 0, _CANDIDATES)[:-1]:
            table = margins(free, leads, candidate, self.rules.braking,
                            self.rules.trust if basis is Basis.FORECAST else Trust())
            if cvar(table.min(axis=1), weights, self.rules.level) >= 0:
                return Decision(float(candidate), basis, reason)
        return Decision(0.0, basis, reason)

    def _debounced(self, now: float, command: float, admissible: float) -> float:
        """Lower a speed at once; raise it once it was admissible for long enough, and slowly."""
        passed = now - self._time
        if not 0 <= passed <= self.rules.scene_age:   # the first command, or after a pause
            passed, self._free_since = 0.0, None
            self._speed = min(self._speed, admissible)
        self._time = now
        if admissible <= self._speed:
            # What the command itself lowers may rise again as soon as the command does.
            if admissible < command:
                self._free_since = None
            self._speed = admissible
        else:
            if self._free_since is None:
                self._free_since = now
            if now - self._free_since >= self.rules.hold:
                self._speed = min(admissible, self._speed + self.rules.acceleration * passed)
        return self._speed


def judge_scene(now: float, scene: Scene | None, rules: Rules) -> tuple[Basis, str]:
    """Return by what a scene can be judged at a time (s), and why not by better."""
    if scene is None:
        return Basis.SAFE_SPEED, 'no obstacles have arrived'
    age = now - scene.stamp
    if not -rules.forecast_age <= age <= rules.scene_age:
        return Basis.SAFE_SPEED, f'obstacles are {age:.2f} s old, limit {rules.scene_age:g} s'
    points = scene.obstacles
    finite = np.isfinite(points.points).all() and np.isfinite(points.lead).all()
    if not (finite and scene.leads and scene.leads[0] == 0.0):
        return Basis.SAFE_SPEED, 'the obstacles hold values that are not finite, or no present'
    if len(scene.leads) < 2:
        return Basis.PRESENT, 'there is no forecast yet'
    if age > rules.forecast_age:
        return Basis.PRESENT, f'the forecast is {age:.2f} s old, limit {rules.forecast_age:g} s'
    weights = scene.weights
    valid = len(weights) > 0 and np.isfinite(weights).all() and (weights >= 0).all() \
        and abs(float(weights.sum()) - 1) < 0.01
    if not valid or (points.future >= len(weights)).any():
        return Basis.PRESENT, 'the weights of the forecast are not those of its futures'
    return Basis.FORECAST, ''
