# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the renderer needs of a moving world: the camera's pose and the agents' instances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deltaworld_training.street.instances import (
    PEDESTRIAN,
    POLE,
    VEHICLE,
    instances,
    shadow_instances,
)
from deltaworld_training.street.layout import Layout
from deltaworld_training.street.pedestrians import Pedestrians
from deltaworld_training.street.roadside import Lamp
from deltaworld_training.street.routes import Routes
from deltaworld_training.street.surfaces import KERB
from deltaworld_training.street.vehicles import CYCLIST, KINDS, SIZES, Vehicles

_SIGNAL_COLORS = np.array(((.9, .05, .03), (.9, .55, .05), (.05, .8, .35)))  # red, yellow, green
_SIGNAL_HEIGHTS = np.array((.70, .40, .10))


@dataclass(frozen=True)
class Camera:
    """A pinhole camera fixed to the ego vehicle."""

    height: float  # m above the road
    pitch: float  # rad, positive looks down
    roll: float
    yaw: float
    field_of_view: float  # horizontal, rad
    forward: float  # m ahead of the vehicle's middle


def sample_camera(rng: np.random.Generator) -> Camera:
    """Draw a dashboard camera."""
    return Camera(
        height=rng.uniform(1.15, 1.85), pitch=rng.normal(.025, .02), roll=rng.normal(0, .008),
        yaw=rng.normal(0, .012), field_of_view=np.deg2rad(rng.uniform(50, 95)),
        forward=rng.uniform(.1, .8))


def camera_pose(camera: Camera, vehicle_pose: np.ndarray, slope: float, pitch: float,
                lift: float) -> np.ndarray:
    """Return the camera pose (4, 4) in the world, optical frame (x right, y down, z forward).

    Args: vehicle pose x, y, z, heading; road slope; the body's pitch (rad) and lift (m).
    """
    x, y, z, heading = vehicle_pose
    pitch = camera.pitch + pitch - slope
    yaw, roll = heading + camera.yaw, camera.roll
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
    level_right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    level_down = np.cross(forward, level_right)
    right = np.cos(roll) * level_right + np.sin(roll) * level_down
    down = np.cos(roll) * level_down - np.sin(roll) * level_right
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, down, forward], 1)
    pose[:3, 3] = (x + np.cos(heading) * camera.forward, y + np.sin(heading) * camera.forward,
                   z + slope * camera.forward + camera.height + lift)
    return pose


def vehicle_instances(vehicles: Vehicles, routes: Routes, poses: np.ndarray) -> np.ndarray:
    """Return instance rows (N, 14) of all vehicles at poses (N, 4)."""
    ends = routes.pose(np.stack([vehicles.path] * 2), np.stack([vehicles.s + 2, vehicles.s - 2]))
    person = vehicles.kind == CYCLIST
    param = np.stack([
        np.where(person, PEDESTRIAN, VEHICLE),
        np.where(person, (vehicles.s * 1.5) % (2 * np.pi), 0.0),
        (vehicles.a < -.7) | (vehicles.v < .3),  # brake lights
        (ends[0, :, 2] - ends[1, :, 2]) / 4], 1)
    return instances(poses, np.ones((len(vehicles), 3)), vehicles.color, param)


def walker_instances(walkers: Pedestrians, layout: Layout, ahead: float) -> np.ndarray:
    """Return instance rows (P, 14) of pedestrians `ahead` seconds after their state."""
    section = layout.main.section
    along, aside = walkers.velocity()
    s, t = walkers.s + along * ahead, walkers.t + aside * ahead
    place = layout.main.at(s, t)
    # Kerbs are climbed over 0.3 m so that nobody jumps.
    beyond = np.maximum(t - section.left_edge, -section.right_edge - t)
    place[:, 2] += KERB * np.clip(beyond / .3 + .5, 0.0, 1.0)
    yaw = layout.main.heading_at(s) + walkers.yaw
    size = np.repeat(.88 + .35 * walkers.color[:, :1], 3, 1)
    zero = np.zeros(len(walkers))
    stride = walkers.stride + walkers.v * ahead * 4.3
    param = np.stack([zero + PEDESTRIAN, stride, zero, zero], 1)
    return instances(np.concatenate([place, yaw[:, None]], 1), size, walkers.color, param)


def signal_instances(lamps: tuple[Lamp, ...], signal: np.ndarray) -> np.ndarray:
    """Return instance rows of the lit lamps; `signal` (junctions, 2) as in `Routes.signal`."""
    state = np.array([signal[lamp.junction, lamp.axis] for lamp in lamps])
    pose = np.array([(*lamp.position, lamp.yaw) for lamp in lamps])
    pose[:, 0] -= .13 * np.cos(pose[:, 3])
    pose[:, 1] -= .13 * np.sin(pose[:, 3])
    pose[:, 2] += _SIGNAL_HEIGHTS[state]
    count = len(lamps)
    return instances(pose, np.tile((.06, .22, .22), (count, 1)), _SIGNAL_COLORS[state],
                     np.tile((POLE, 3.0, 0.0, 0.0), (count, 1)))


def moving_instances(vehicles: Vehicles, walkers: Pedestrians, layout: Layout, routes: Routes,
                     lamps: tuple[Lamp, ...], time: float, ahead: float) -> dict[str, np.ndarray]:
    """Return the instance tables of everything that moves or changes, by mesh."""
    poses = vehicles.poses(routes, ahead)
    cars, kinds = vehicle_instances(vehicles, routes, poses)[1:], vehicles.kind[1:]
    tables = {KINDS[kind]: cars[kinds == kind] for kind in np.unique(kinds)}
    shades, sizes = [poses[1:]], [SIZES[kinds]]
    if len(walkers):
        tables['pedestrian'] = walker_instances(walkers, layout, ahead)
        shades.append(tables['pedestrian'][:, :4])
        sizes.append(np.tile((.45, .5, 1.7), (len(walkers), 1)))
    tables['shadow'] = shadow_instances(np.concatenate(shades), np.concatenate(sizes))
    if lamps:
        tables['box'] = signal_instances(lamps, routes.signal(time + ahead))
    return tables
