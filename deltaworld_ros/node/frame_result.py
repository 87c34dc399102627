# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What one frame led to: the facts that every output is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.camera.intrinsics import Camera, Matrix, resize_matrix
from deltaworld_ros.forecast.forecaster import Forecast
from deltaworld_ros.forecast.lead_name import lead_name
from deltaworld_ros.forecast.live_bound import LeadBound
from deltaworld_ros.forecast.metres import in_metres
from deltaworld_ros.forecast.self_score import LeadScore
from deltaworld_ros.node.planner_scene import PlannerScene, RobotState
from deltaworld_ros.node.stamps import stamp_nanoseconds


@dataclass
class FrameResult:
    """
    One frame, its forecast, and the camera that took it.

    `forecast` is None where nobody asked for maps; it has the present alone (one lead, 0 s) while
    the context fills. `to_input` takes pixels of the camera's image to pixels of `image`.
    """

    header: Header                     # of the input image
    image: NDArray[np.uint8]           # (h, w, 3) RGB at the graphs' input size
    manifest: Manifest
    engine_name: str
    camera: Camera | None              # None: unknown
    to_input: Matrix                   # (3, 3)
    depth_scale: float | None          # metres a unit of the forecast's depth; None: unknown
    output_width: int                  # pixels
    forecast: Forecast | None = None
    scores: Mapping[float, LeadScore] | None = None   # by lead (s); None: nothing was compared
    bounds: Mapping[float, LeadBound] = field(default_factory=dict)   # by lead (s), where wanted
    timings: dict[str, float] = field(default_factory=dict)   # ms by stage
    age: float = 0.0                   # s between the stamp and the publication of the maps
    robot: RobotState = field(default_factory=RobotState)
    now_ns: int = 0                    # by the node's clock when publishing began; 0: unknown

    def header_of(self, lead: int) -> Header:
        """
        Return the header of a lead's maps: the input's, in the frame of the camera at that lead.

        Without a broadcast frame it is the camera's own.
        """
        if lead == 0 or not self.robot.lead_frames or self.forecast is None:
            return self.header
        return Header(stamp=self.header.stamp, frame_id=lead_frame(
            self.header.frame_id, self.forecast.leads[lead]))

    def past_header(self, frame_id: str) -> Header:
        """Return a header with the image's stamp, or now where the image's is in the future."""
        stamp = self.header.stamp
        if 0 < self.now_ns < self.stamp_ns:
            seconds, nanoseconds = divmod(self.now_ns, 10**9)
            stamp = type(stamp)(sec=seconds, nanosec=nanoseconds)
        return Header(stamp=stamp, frame_id=frame_id)

    @property
    def stamp_ns(self) -> int:
        """Return the stamp of the image in nanoseconds."""
        return stamp_nanoseconds(self.header)

    @property
    def age_now(self) -> float:
        """Return the seconds between the stamp and the moment when publishing began."""
        return (self.now_ns - self.stamp_ns) / 1e9

    def intrinsics(self, size: tuple[int, int]) -> Matrix:
        """Return the pinhole matrix (3, 3) of maps of a size (width, height)."""
        assert self.camera is not None
        to_map = resize_matrix(size[0] / self.manifest.image_width,
                               size[1] / self.manifest.image_height)
        return to_map @ self.to_input @ self.camera.pinhole

    @cached_property
    def scene(self) -> PlannerScene | None:
        """Return the obstacles for planners, None where the camera is unknown."""
        if self.camera is None:
            return None
        manifest = self.manifest
        return PlannerScene(
            self.metres, self.intrinsics((manifest.map_width, manifest.map_height)), manifest,
            self.robot)

    @property
    def num_leads(self) -> int:
        """Return the number of leads that there are maps for, the present included."""
        return 0 if self.forecast is None else len(self.forecast.leads)

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height of the published maps, in pixels."""
        width = self.output_width
        return width, max(1, round(width * self.manifest.map_height / self.manifest.map_width))

    @cached_property
    def metres(self) -> Forecast:
        """Return the forecast with its depth in metres; unscaled where the camera is unknown."""
        assert self.forecast is not None
        return in_metres(self.forecast, self.manifest, self.depth_scale or 1.0)


def lead_frame(camera: str, lead: float) -> str:
    """Name the frame of a camera at a lead (s): front_lead_600ms."""
    return f'{camera or "camera"}_{lead_name(lead)}'
