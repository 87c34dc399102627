# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pedestrians with hidden intents: they walk on the sidewalk, wait at the kerb or cross."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from deltaworld_training.street.layout import CORNER_RADIUS, Layout

WALK, WAIT, CROSS = range(3)
CHOICES = ('walk', 'wait', 'cross')
CHOICE_ODDS = (.33, .22, .45)


@dataclass
class Pedestrians:
    """State of P pedestrians in coordinates of the main road (s along, t to the left)."""

    s: np.ndarray
    t: np.ndarray
    yaw: np.ndarray  # relative to the road's heading
    v: np.ndarray
    pace: np.ndarray
    along: np.ndarray  # walking direction, +1 or -1
    mode: np.ndarray
    home: np.ndarray  # lateral position while walking along
    choice: np.ndarray
    choice_time: np.ndarray
    stride: np.ndarray  # phase of the legs
    color: np.ndarray

    def __len__(self) -> int:
        return len(self.s)

    def copy(self) -> Pedestrians:
        """Return an independent copy."""
        return Pedestrians(*(getattr(self, f.name).copy() for f in fields(self)))

    def velocity(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rates of s and t in m/s."""
        return self.v * np.cos(self.yaw), self.v * np.sin(self.yaw)


def draw_choice(walkers: Pedestrians, i: int, time: float, rng: np.random.Generator,
                soon: float = 0.0) -> None:
    """Draw what pedestrian i does next, and when."""
    walkers.choice[i] = rng.choice(3, p=CHOICE_ODDS)
    walkers.choice_time[i] = time + rng.uniform(soon, 3.0)


def spawn_pedestrians(layout: Layout, around: float, count: int,
                      rng: np.random.Generator) -> Pedestrians:
    """Place pedestrians on the sidewalks ahead of arc length `around`."""
    section = layout.main.section
    s, t = [], []
    for _ in range(count):
        place = around + (rng.uniform(8, 38) if rng.uniform() < .55 else rng.uniform(30, 110))
        left = rng.uniform() < .5
        edge = section.left_edge if left else section.right_edge
        out = edge + (rng.uniform(.6, 1.0) if rng.uniform() < .5
                      else rng.uniform(.8, max(section.sidewalk - .9, 1.0)))
        s.append(_off_junctions(layout, place))
        t.append(out if left else -out)
    lateral = np.array(t)
    along = np.where(rng.uniform(size=count) < .5, 1.0, -1.0)
    return Pedestrians(
        s=np.array(s, float), t=lateral.copy(), yaw=np.where(along > 0, 0.0, np.pi),
        v=np.zeros(count), pace=rng.uniform(1.0, 2.4, count), along=along,
        mode=np.where(rng.uniform(size=count) < .25, WAIT, WALK), home=lateral.copy(),
        choice=np.zeros(count, int), choice_time=np.zeros(count),
        stride=rng.uniform(0, 6.3, count), color=rng.uniform(.03, .5, (count, 1)) *
        rng.uniform(.6, 1.3, (count, 3)))


def _off_junctions(layout: Layout, s: float) -> float:
    for junction in layout.junctions:
        room = junction.street.section.right_edge + CORNER_RADIUS + 1.0
        if abs(s - junction.s) < room:
            return junction.s - room - 1.0
    return s


class Walking:
    """Advance pedestrians by fixed steps."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def obstacles(self, walkers: Pedestrians) -> np.ndarray:
        """Return points (P', 2) that vehicles must keep clear of: where someone crosses next."""
        crossing = np.flatnonzero(walkers.mode == CROSS)
        if not len(crossing):
            return np.zeros((0, 2))
        s, t = walkers.s[crossing], walkers.t[crossing]
        toward = np.sign(walkers.home[crossing] - t)
        ahead = np.array([0.0, 1.2, 2.4, 3.6])[None]
        # What lies behind the far kerb cannot be driven over anyway.
        return self.layout.main.at(np.repeat(s[:, None], 4, 1),
                                   t[:, None] + toward[:, None] * ahead)[..., :2].reshape(-1, 2)

    def advance(self, walkers: Pedestrians, time: float, step: float, poses: np.ndarray,
                sizes: np.ndarray, speeds: np.ndarray, rng: np.random.Generator) -> None:
        """Move everyone by one step; vehicles have poses (N, 4), sizes (N, 2) and speeds (N,)."""
        section = self.layout.main.section
        due = np.flatnonzero((time >= walkers.choice_time) & (walkers.mode != CROSS))
        for i in due.tolist():
            choice = walkers.choice[i]
            if choice == CROSS:
                if not self._safe(walkers, i, poses, speeds):
                    walkers.mode[i] = WAIT  # at the kerb, until there is a gap
                    walkers.choice_time[i] = time + .3
                    continue
                edge = section.right_edge if walkers.t[i] > 0 else section.left_edge
                walkers.mode[i] = CROSS
                walkers.home[i] = -np.sign(walkers.t[i]) * (edge + 1.0)
            else:
                walkers.mode[i] = choice
            draw_choice(walkers, i, time, rng, 1.5)
        crossing = walkers.mode == CROSS
        arrived = crossing & (np.abs(walkers.home - walkers.t) < .3)
        walkers.mode[arrived] = WALK
        crossing &= ~arrived
        toward = np.where(walkers.home > walkers.t, np.pi / 2, -np.pi / 2)
        along = np.where(walkers.along > 0, 0.0, np.pi)
        back = np.clip((walkers.home - walkers.t) * .5, -.4, .4) * walkers.along
        kerb = np.where(walkers.t > 0, -np.pi / 2, np.pi / 2)
        want = np.where(crossing, toward, along + np.where(walkers.mode == WAIT, 0.0, back))
        want = np.where((walkers.mode == WAIT) & (walkers.choice == CROSS), kerb, want)
        turn = (want - walkers.yaw + np.pi) % (2 * np.pi) - np.pi
        walkers.yaw = walkers.yaw + np.clip(turn, -4.0 * step, 4.0 * step)
        goal = np.where(walkers.mode == WAIT, 0.0, walkers.pace)
        goal = np.where(np.abs(turn) > .5, 0.0, goal)
        goal = np.where(crossing & self._blocked(walkers, poses, sizes), 0.0, goal)
        goal = np.where(self._at_corner(walkers) & (walkers.mode == WALK), 0.0, goal)
        walkers.v = walkers.v + np.clip(goal - walkers.v, -3.0 * step, 2.0 * step)
        ds, dt = walkers.velocity()
        walkers.s = walkers.s + ds * step
        walkers.t = walkers.t + dt * step
        kerb_t = np.where(walkers.t > 0, section.left_edge, section.right_edge) + .45
        beside = np.sign(walkers.t) * np.maximum(np.abs(walkers.t), kerb_t)
        walkers.t = np.where(walkers.mode == CROSS, walkers.t, beside)
        walkers.stride = walkers.stride + walkers.v * step * 4.3

    def _blocked(self, walkers: Pedestrians, poses: np.ndarray,
                 sizes: np.ndarray) -> np.ndarray:
        """Tell who (P,) would walk into the side of a vehicle."""
        toward = np.sign(walkers.home - walkers.t)
        next_place = self.layout.main.at(walkers.s, walkers.t + .7 * toward)
        away = next_place[:, None, :2] - poses[None, :, :2]
        c, s = np.cos(poses[:, 3]), np.sin(poses[:, 3])
        along = np.abs(away[..., 0] * c + away[..., 1] * s)
        aside = np.abs(-away[..., 0] * s + away[..., 1] * c)
        return np.asarray(((along < sizes[:, 0] / 2 + .5) & (aside < sizes[:, 1] / 2 + .4)).any(1))

    def _at_corner(self, walkers: Pedestrians) -> np.ndarray:
        stop = np.zeros(len(walkers), bool)
        for junction in self.layout.junctions:
            room = junction.street.section.right_edge + CORNER_RADIUS + .6
            ahead = (junction.s - walkers.s) * walkers.along
            stop |= (ahead > 0) & (ahead < room)
        return stop | (walkers.s < 2) | (walkers.s > self.layout.main.length - 3)

    def _safe(self, walkers: Pedestrians, i: int, poses: np.ndarray,
              speeds: np.ndarray) -> bool:
        """Tell whether everyone on the road has room to stop or passes before pedestrian i."""
        main = self.layout.main
        here, along = main.at(walkers.s[i], 0.0)[:2], float(main.heading_at(walkers.s[i]))
        away = here - poses[:, :2]
        heading = poses[:, 3]
        ahead = away[:, 0] * np.cos(heading) + away[:, 1] * np.sin(heading)
        lateral = away[:, 0] * np.sin(along) - away[:, 1] * np.cos(along)
        parallel = np.abs(np.cos(heading - along)) >= .9
        near = np.hypot(*away.T)
        turning = ~parallel & (speeds > .5) & (ahead > -6) & (near < 24)
        edge = max(main.section.left_edge, main.section.right_edge) + 3
        coming = parallel & (ahead > -6) & (ahead < 70) & (np.abs(lateral) < edge)
        stops = ahead > speeds**2 / (2 * 2.1) + speeds * .6 + 6.5
        walk = (np.abs(lateral - walkers.t[i]) - 5.4) / walkers.pace[i]
        passes = (ahead + 7.0) / np.maximum(speeds, .1) < walk
        return not bool((coming & ~stops & ~passes).any() or turning.any())
