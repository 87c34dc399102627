# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Vehicles and their hidden intents: to turn, to change lanes, to brake, to stop.

Agent 0 is the ego. Each vehicle holds two open choices: its `route` at the next junction and its
next event (`event`, `event_time`); both can be drawn again when a world branches.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from deltaworld_training.street.meshes import VEHICLES
from deltaworld_training.street.routes import Routes

STEP = 0.1  # s, fixed simulation step; poses between steps follow constant acceleration
KINDS = (*VEHICLES, 'cyclist')
SIZES = np.array([*VEHICLES.values(), (1.8, 0.6, 1.8)])
CYCLIST = KINDS.index('cyclist')
EVENTS = ('keep', 'ease', 'brake', 'stop', 'left', 'right')
KEEP, EASE, BRAKE, STOP, CHANGE_LEFT, CHANGE_RIGHT = range(6)
ROUTES = ('straight', 'left', 'right')
LANE_CHANGE = 3.6  # s at constant speed


@dataclass
class Vehicles:
    """State of N vehicles as arrays; index 0 is the ego."""

    kind: np.ndarray
    path: np.ndarray
    base: np.ndarray  # lane path before a turn
    s: np.ndarray
    v: np.ndarray
    a: np.ndarray
    side: np.ndarray  # constant lateral offset (cyclists ride at the edge), m
    shift: np.ndarray  # lateral offset at the start of a lane change, m
    shift_start: np.ndarray  # arc length where it starts, m
    shift_length: np.ndarray  # m
    desired: np.ndarray  # m/s
    color: np.ndarray
    route: np.ndarray  # index into ROUTES for junction `decided`
    decided: np.ndarray
    event: np.ndarray
    event_time: np.ndarray
    slow_to: np.ndarray  # m/s while slowing
    slow_until: np.ndarray
    slow_rate: np.ndarray  # m/s^2

    def __len__(self) -> int:
        return len(self.s)

    @property
    def length(self) -> np.ndarray:
        """Length (N,) in metres."""
        return SIZES[self.kind, 0]

    @property
    def width(self) -> np.ndarray:
        """Width (N,) in metres."""
        return SIZES[self.kind, 1]

    def copy(self) -> Vehicles:
        """Return an independent copy."""
        return Vehicles(*(getattr(self, f.name).copy() for f in fields(self)))

    def select(self, keep: np.ndarray) -> None:
        """Drop the vehicles whose mask entry is false."""
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name)[keep])

    def lateral(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lateral offset (N,) m at arc lengths s, and its slope along the path."""
        u = np.clip((s - self.shift_start) / self.shift_length, 0.0, 1.0)
        left = 1.0 - u**3 * (10 - 15 * u + 6 * u**2)
        slope = -30.0 * u**2 * (1 - u) ** 2 / self.shift_length
        return self.side + self.shift * left, self.shift * slope

    def poses(self, routes: Routes, ahead: float = 0.0) -> np.ndarray:
        """Return (N, 4) x, y, z, heading `ahead` seconds from now."""
        until_rest = -self.v / np.minimum(self.a, -1e-9)
        moving = np.where(self.a < 0, np.minimum(ahead, until_rest), ahead)
        s = self.s + self.v * moving + 0.5 * self.a * moving**2
        offset, slope = self.lateral(s)
        pose = routes.pose(self.path, s, offset)
        pose[:, 3] += np.arctan(slope)
        return pose


def discs(pose: np.ndarray, length: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Cover vehicles by circles of radius 0.55 * width; return their centres (N, 5, 2)."""
    reach = length / 2 - width * 0.45
    along = np.linspace(-1.0, 1.0, 5)[None] * reach[:, None]
    heading = pose[:, 3:4]
    return pose[:, None, :2] + np.stack([np.cos(heading) * along, np.sin(heading) * along], -1)


def event_odds(vehicles: Vehicles, i: int, lanes: bool) -> np.ndarray:
    """Return the odds (6,) of vehicle i's next event; `lanes`: it could change lanes."""
    if vehicles.kind[i] == CYCLIST:
        odds = [.5, .4, .05, .05, 0, 0]
    elif lanes and vehicles.desired[i] > 17:
        odds = [.36, .24, .17, .01, .11, .11]
    elif lanes:
        odds = [.38, .26, .15, .07, .07, .07]
    else:
        odds = [.42, .28, .19, .11, 0, 0]
    return np.array(odds)


def draw_event(vehicles: Vehicles, i: int, time: float, rng: np.random.Generator, lanes: bool,
               soon: float = 0.0) -> None:
    """Draw the next hidden event of vehicle i and when it happens."""
    vehicles.event[i] = rng.choice(len(EVENTS), p=event_odds(vehicles, i, lanes))
    vehicles.event_time[i] = time + rng.uniform(soon, 4.5)


def route_odds(options: list[str]) -> tuple[float, ...]:
    """Return the odds of going straight on and of each turn."""
    turn = .5 if len(options) == 1 else .31
    return (1 - turn * len(options), *[turn] * len(options))


def draw_route(rng: np.random.Generator, options: list[str]) -> int:
    """Draw a route among straight and the turns that the lane offers."""
    if not options:
        return 0
    return ROUTES.index(('straight', *options)[rng.choice(1 + len(options),
                                                          p=route_odds(options))])
