# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the outputs for planners share: where the robot and its camera are, and the obstacles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.forecast.forecaster import Forecast
from deltaworld_ros.planning.contacts import role_table
from deltaworld_ros.planning.obstacles import Obstacles, fused_obstacles, future_obstacles
from deltaworld_ros.planning.occupancy import Grid
from deltaworld_ros.planning.odometry import Ego
from deltaworld_ros.planning.points import lead_cameras
from deltaworld_ros.planning.pose import OPTICAL, Pose
from deltaworld_ros.planning.risk import Braking

_MIN_HEIGHT = 0.1   # m, of obstacles over the robot's origin
# A camera whose place is unknown is taken to be at the robot's origin and to look ahead.
_AHEAD = Pose(OPTICAL, np.zeros(3))


@dataclass(frozen=True)
class PlannerSettings:
    """The parameters of the outputs for planners, in m, s and m/s2."""

    dynamic_only: bool = False
    grid: Grid = Grid(40.0, 0.5)
    half_width: float = 1.2
    front: float = 0.0
    braking: Braking = Braking()
    risk_level: float = 0.2


@dataclass(frozen=True, eq=False)
class RobotState:
    """
    The robot at an image's stamp: its camera's pose (optical frame) and its motion, if known.

    `lead_frames` says that a frame is broadcast for each lead, `problem` why ego motion is not
    compensated, and is empty where it is or where nobody needs it.
    """

    base_frame: str = 'base_link'
    mount: Pose | None = None
    ego: Ego | None = None
    lead_frames: bool = False
    problem: str = ''
    settings: PlannerSettings = PlannerSettings()

    def cameras(self, leads: tuple[float, ...]) -> list[Pose]:
        """Return the camera's pose at each lead (s) in the robot's frame at the present."""
        return lead_cameras(self.mount or _AHEAD, self.ego.twist if self.ego else None, leads)


class PlannerScene:
    """
    The obstacles of a forecast in m, computed once however many outputs show them.

    They are in the robot's frame, or in the camera's where its pose is unknown. `intrinsics`
    (3, 3) are of the forecast's maps.
    """

    def __init__(self, forecast: Forecast, intrinsics: NDArray[np.float64], manifest: Manifest,
                 robot: RobotState) -> None:
        self.forecast, self.intrinsics, self.robot = forecast, intrinsics, robot
        self._roles = role_table(manifest.classes)
        cameras = robot.cameras(forecast.leads)
        to_camera = cameras[0].inverse()
        self.cameras = cameras if robot.mount else [to_camera @ one for one in cameras]

    @cached_property
    def fused(self) -> Obstacles:
        """Return those of the fused maps of all leads."""
        return self._wanted(fused_obstacles(
            self.forecast, self.intrinsics, self.cameras, self._roles))

    @cached_property
    def futures(self) -> Obstacles:
        """Return those of the present and of each future."""
        return self._wanted(future_obstacles(
            self.forecast, self.intrinsics, self.cameras, self._roles))

    def _wanted(self, obstacles: Obstacles) -> Obstacles:
        if self.robot.settings.dynamic_only:
            obstacles = obstacles.where(obstacles.dynamic)
        if self.robot.mount is not None:
            # Nothing stands below the ground: there, height filters would lose it.
            np.maximum(obstacles.points[:, 2], _MIN_HEIGHT, out=obstacles.points[:, 2])
        return obstacles
