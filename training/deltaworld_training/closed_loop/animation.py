# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Show an episode: for each kind what the camera sees, what the governor knows, and the speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from deltaworld_ros.evaluate.pictures import side_by_side, write_animation
from deltaworld_ros.planning.governor import Scene
from deltaworld_training.closed_loop.ego import EGO
from deltaworld_training.closed_loop.episode import PERIOD, RULES, Record, Watch
from deltaworld_training.closed_loop.information import KINDS
from deltaworld_training.closed_loop.run import Driver
from deltaworld_training.street.renderer import Frame
from deltaworld_training.street.world import StreetWorld

_WIDTH, _CAMERA, _TOP = 124, 74, 160   # pixels of a panel
_AHEAD, _BEHIND = 32.0, 6.0            # m that the view from above shows
_SCALE = _TOP / (_AHEAD + _BEHIND)     # pixels in a metre
_ROAD, _CORRIDOR, _OTHER, _OWN = (235, 235, 235), (215, 228, 240), (150, 150, 150), (40, 90, 160)
_WALKER, _PRESENT, _FUTURE, _HIT = (90, 160, 90), (20, 20, 20), (230, 120, 20), (200, 30, 30)
_LAST = 5   # how often the picture of a collision is repeated at most, to be seen


@dataclass
class Film:
    """The pictures of one kind's episode."""

    kind: str
    pictures: list[np.ndarray] = field(default_factory=list)
    hit: bool = False

    def watch(self, world: StreetWorld, frame: Frame, scene: Scene | None, speed: float,
              hit: bool) -> None:
        """Take a decision's picture; before the first one there is nothing to see."""
        if scene is None and not hit:
            return
        camera = cv2.resize(frame.rgb, (_WIDTH, _CAMERA), interpolation=cv2.INTER_AREA)
        picture = np.concatenate([camera, from_above(world, scene)])
        text = f'{world.vehicles.v[EGO]:.1f} m/s, let {speed:.1f}'
        cv2.putText(picture, text, (3, len(picture) - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.3, _PRESENT,
                    1, cv2.LINE_AA)
        if hit:
            cv2.rectangle(picture, (0, 0), (_WIDTH - 1, len(picture) - 1), _HIT, 6)
        self.pictures.append(picture)
        self.hit = self.hit or hit

    def at(self, moment: int) -> tuple[str, np.ndarray]:
        """Return the caption and picture of a moment; after the end, those of the end."""
        return self.kind, self.pictures[min(moment, len(self.pictures) - 1)]


def from_above(world: StreetWorld, scene: Scene | None) -> np.ndarray:
    """
    Draw the surroundings of the ego, which drives upwards: (h, w, 3) RGB.

    Bodies are where they truly are. Dots are what the governor knows of: black for the present,
    orange for the leads.
    """
    picture = np.full((_TOP, _WIDTH, 3), _ROAD, np.uint8)
    vehicles = world.vehicles
    poses = vehicles.poses(world.routes)
    x0, y0, _, heading = poses[EGO]
    half = RULES.half_width
    cv2.rectangle(picture, _pixel(np.array([_AHEAD, half])), _pixel(np.array([0.0, -half])),
                  _CORRIDOR, -1)

    def own(places: np.ndarray) -> np.ndarray:
        """Return places (n, 2) of the world as seen from the ego: ahead, left."""
        c, s = np.cos(heading), np.sin(heading)
        away: np.ndarray = (places - (x0, y0)) @ np.array([[c, -s], [s, c]])
        return away

    sizes = zip(vehicles.length, vehicles.width, strict=True)
    for number, (pose, (length, width)) in enumerate(zip(poses, sizes, strict=True)):
        c, s = np.cos(pose[3]), np.sin(pose[3])
        corners = 0.5 * np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * (length, width)
        outline = own(corners @ np.array([[c, s], [-s, c]]) + pose[:2])
        cv2.fillPoly(picture, [np.array([_pixel(one) for one in outline])],
                     _OWN if number == EGO else _OTHER, cv2.LINE_AA)
    walkers = world.walkers
    if len(walkers):
        for place in own(world.layout.main.at(walkers.s, walkers.t)[:, :2]):
            cv2.circle(picture, _pixel(place), 3, _WALKER, -1, cv2.LINE_AA)
    if scene is not None:
        points = scene.obstacles
        for ahead in (True, False):   # the present above
            chosen = (points.lead > 0) == ahead
            for place in points.points[chosen, :2]:
                cv2.circle(picture, _pixel(place), 1, _FUTURE if ahead else _PRESENT, -1)
    return picture


def _pixel(place: np.ndarray) -> tuple[int, int]:
    """Return the column and row of a place (ahead, left) in m."""
    column, row = 0.5 * _WIDTH - _SCALE * place[1], _SCALE * (_AHEAD - place[0])
    return (int(np.clip(round(column), -1000, 1000)), int(np.clip(round(row), -1000, 1000)))


def animate(driver: Driver, seed: int, path: Path, kinds: Sequence[str] = KINDS) -> None:
    """Drive a world again and write what happened as an animated WebP, the kinds side by side."""
    films: list[Film] = []

    def watch(kind: str) -> Watch:
        films.append(Film(kind))
        return films[-1].watch

    driver.drive(seed, kinds, watch)
    longest = max(len(film.pictures) for film in films)
    frames = [side_by_side([film.at(moment) for film in films], _WIDTH, _CAMERA + _TOP)
              for moment in range(longest)]
    hold = _LAST if any(film.hit for film in films) else 1
    write_animation(path, [*frames, *[frames[-1]] * (hold - 1)], PERIOD, small=True)


def chosen_worlds(records: Sequence[Record]) -> dict[str, int]:
    """Return the first seed of each scenario."""
    found: dict[str, int] = {}
    for record in records:
        found.setdefault(record.scenario, record.seed)
    return found
