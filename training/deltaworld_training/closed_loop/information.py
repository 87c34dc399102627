# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The kinds of information that the governor is tried on, each as a scene of obstacles."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from deltaworld_ros.bundle import Manifest
from deltaworld_ros.camera.depth_scale import depth_scale
from deltaworld_ros.camera.intrinsics import resize_matrix
from deltaworld_ros.camera.map_resize import reduce_map
from deltaworld_ros.engine import Engine
from deltaworld_ros.forecast.constant_flow import ConstantFlow
from deltaworld_ros.forecast.forecaster import Forecast, Forecaster
from deltaworld_ros.forecast.metres import in_metres
from deltaworld_ros.planning.contacts import role_table
from deltaworld_ros.planning.governor import Scene
from deltaworld_ros.planning.obstacles import future_obstacles
from deltaworld_ros.planning.points import lead_cameras
from deltaworld_ros.planning.pose import Pose, Twist
from deltaworld_training.closed_loop.cache import CachedFrames
from deltaworld_training.closed_loop.ego import EGO, drive
from deltaworld_training.street.renderer import Frame
from deltaworld_training.street.world import StreetWorld

PRESENT, FLOW, FUSED, FUTURES, CAUTIOUS, TRUTH = KINDS = (
    'present', 'constant flow', 'fused forecast', 'K futures', 'K futures, cautious',
    'true future')
_EACH_FUTURE = (FUTURES, CAUTIOUS)


class Observer:
    """
    One camera of an episode: it takes in rendered frames and tells what one kind knows of them.

    The true future is that of the world if the ego keeps its speed, in the same maps as a
    forecast's; its present is true, too.
    """

    def __init__(self, kind: str, engine: Engine, manifest: Manifest,
                 renderer: CachedFrames) -> None:
        self._kind, self._manifest, self._renderer = kind, manifest, renderer
        self._forecaster = Forecaster(engine, manifest)
        self._roles = role_table(manifest.classes)
        self._before: tuple[float, np.ndarray] | None = None
        self._size = (manifest.map_width, manifest.map_height)

    def observe(self, world: StreetWorld, frame: Frame, rgb: np.ndarray, *,
                wanted: bool = True) -> Scene | None:
        """
        Take in a frame and what the camera made of it; return what this kind knows.

        None where it is not `wanted`, and while the context fills.
        """
        previous, self._before = self._before, (world.time, rgb)
        if self._kind != TRUTH:
            self._forecaster.observe(rgb, round((world.time + 100) * 1e9))
        whole = self._forecaster.ready or self._kind not in (FUSED, *_EACH_FUTURE)
        if previous is None or not whole or not wanted:
            return None
        forecast = self._forecast(world, frame, rgb, previous)
        cameras = lead_cameras(mount(world), twist(world), forecast.leads)
        manifest = self._manifest
        intrinsics = resize_matrix(self._size[0] / manifest.image_width,
                                   self._size[1] / manifest.image_height) @ frame.intrinsics
        return Scene(world.time, forecast.leads, forecast.weights,
                     future_obstacles(forecast, intrinsics, cameras, self._roles))

    def _forecast(self, world: StreetWorld, frame: Frame, rgb: np.ndarray,
                  previous: tuple[float, np.ndarray]) -> Forecast:
        if self._kind == TRUTH:
            return self._true_future(world, frame)
        scale = depth_scale(self._manifest, frame.intrinsics)
        if self._kind in (FUSED, *_EACH_FUTURE):
            each = self._kind in _EACH_FUTURE
            forecast = in_metres(
                self._forecaster.forecast(futures=each), self._manifest, scale)
            return forecast if each else _one_future(
                forecast, forecast.fused_labels, forecast.fused_depth, forecast.leads)
        present = in_metres(self._forecaster.present(), self._manifest, scale)
        if self._kind == PRESENT:
            return present
        flow = ConstantFlow(previous[1], rgb, world.time - previous[0])
        leads = (0.0, *self._manifest.leads)
        labels, depth = present.fused_labels[0], present.fused_depth[0]
        nearing = _nearing(flow.velocity, self._size)
        moved = [flow.warp(depth * np.clip(1 - nearing * lead, 0.3, 1.5), lead)
                 for lead in leads[1:]]
        return _one_future(
            present, np.stack([labels, *(flow.warp(labels, lead) for lead in leads[1:])]),
            np.stack([depth, *moved]).astype(np.float32), leads)

    def _true_future(self, world: StreetWorld, frame: Frame) -> Forecast:
        leads = (0.0, *self._manifest.leads)
        state, speed = world.snapshot(), float(world.vehicles.v[EGO])
        frames = [frame]
        for before, lead in zip(leads, leads[1:], strict=False):
            drive(world, speed, round(10 * (lead - before)))
            frames.append(self._renderer.render(world))
        world.restore(state)
        labels = np.stack([reduce_map(one.labels, self._size) for one in frames])
        depth = np.stack([reduce_map(one.depth, self._size) for one in frames])
        empty = Forecast(
            stamp=world.time, leads=(0.0,), weights=np.ones(1, np.float32), fused_labels=labels,
            fused_depth=depth, confidence=np.ones(labels.shape, np.float32), labels=None,
            depth=None, context_stamps=(), timings={})
        return _one_future(empty, labels, depth, leads)


def _nearing(velocity: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """
    Return by which share of its depth each pixel of maps of a size comes nearer in a second.

    What comes nearer grows in the picture at that rate; `velocity` (h, w, xy) is smoothed.
    """
    width = velocity.shape[1]
    smooth = cv2.blur(velocity, (width // 16, width // 16))
    growth = 0.5 * (np.gradient(smooth[..., 0], axis=1) + np.gradient(smooth[..., 1], axis=0))
    return np.asarray(cv2.resize(growth, size, interpolation=cv2.INTER_AREA))


def mount(world: StreetWorld) -> Pose:
    """Return the camera's pose on the ego, whose frame has its origin on the road."""
    camera, vehicle = world.ego_camera(), world.vehicles.poses(world.routes)[EGO]
    c, s = np.cos(vehicle[3]), np.sin(vehicle[3])
    ego = Pose(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]), vehicle[:3])
    return ego.inverse() @ Pose(camera[:3, :3], camera[:3, 3])


def twist(world: StreetWorld) -> Twist:
    """Return the true twist of the ego."""
    vehicles = world.vehicles
    s = np.array([vehicles.s[EGO], vehicles.s[EGO] + 1.0])
    heading = world.routes.pose(np.array([vehicles.path[EGO]] * 2), s)[:, 3]
    turn = (heading[1] - heading[0] + np.pi) % (2 * np.pi) - np.pi
    speed = float(vehicles.v[EGO])
    return Twist(np.array([speed, 0, 0]), np.array([0, 0, speed * turn]))


def _one_future(forecast: Forecast, labels: np.ndarray, depth: np.ndarray,
                leads: tuple[float, ...]) -> Forecast:
    """Return maps (S+1, a, b) as a forecast of one future."""
    return replace(forecast, leads=leads, weights=np.ones(1, np.float32), fused_labels=labels,
                   fused_depth=depth, labels=labels[None, 1:], depth=depth[None, 1:])
