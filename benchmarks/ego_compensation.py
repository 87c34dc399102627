# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure where the points of a forecast lie, with and without ego motion, in the street world.

    python benchmarks/ego_compensation.py --bundle street-lite0 --worlds 20

A pixel of the map 0.6 s ahead should lie where the world's surface is that the camera sees there
0.6 s later. The distance between both has two causes: depth, and where the camera is taken to be.
"""

from __future__ import annotations

import argparse

import numpy as np

from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.camera.depth_scale import depth_scale
from deltaworld_ros.camera.intrinsics import resize_matrix
from deltaworld_ros.camera.map_resize import reduce_map
from deltaworld_ros.engine import load_engine
from deltaworld_ros.forecast.forecaster import Forecaster
from deltaworld_ros.forecast.metres import in_metres
from deltaworld_ros.planning.points import lead_cameras, map_points
from deltaworld_ros.planning.pose import Pose
from deltaworld_training.closed_loop.ego import EGO
from deltaworld_training.closed_loop.information import mount, twist
from deltaworld_training.street.renderer import Renderer
from deltaworld_training.street.world import StreetWorld

FIRST_SEED = 70_000   # of the test split
MAX_DEPTH = 40.0       # m, of the true surface


def main() -> None:
    """Print the median distances."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--bundle', default='street-lite0')
    parser.add_argument('--worlds', type=int, default=20)
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle)
    manifest, engine = bundle.manifest, load_engine(bundle)
    renderer = Renderer(manifest.image_width, manifest.image_height)
    size = manifest.map_width, manifest.map_height
    found: dict[str, list[np.ndarray]] = {}
    speeds = []
    for seed in range(FIRST_SEED, FIRST_SEED + arguments.worlds):
        world = StreetWorld(seed)
        forecaster = Forecaster(engine, manifest)
        for step in range(manifest.context_length):
            world.advance_to(step * manifest.stride)
            frame = renderer.render(world)
            forecaster.observe(frame.rgb, round((world.time + 100) * 1e9))
        lead = manifest.leads[-1]
        forecast = in_metres(forecaster.forecast(futures=False), manifest,
                             depth_scale(manifest, frame.intrinsics))
        here = Pose(frame.camera_to_world[:3, :3], frame.camera_to_world[:3, 3])
        robot = here @ mount(world).inverse()
        expected = robot @ lead_cameras(mount(world), twist(world), [lead])[0]
        speeds.append(float(world.vehicles.v[EGO]))
        world.advance_to(world.time + lead)
        later = renderer.render(world)
        there = Pose(later.camera_to_world[:3, :3], later.camera_to_world[:3, 3])
        intrinsics = resize_matrix(
            size[0] / manifest.image_width, size[1] / manifest.image_height) @ frame.intrinsics
        true_depth = reduce_map(later.depth, size)
        points = map_points(forecast.fused_depth[-1], intrinsics)
        true = there.apply(map_points(true_depth, intrinsics))
        good = (true_depth < MAX_DEPTH) & np.isfinite(points[..., 2])
        for name, camera in (('true pose (depth error alone)', there),
                             ('constant twist (compensated)', expected),
                             ('present pose (not compensated)', here)):
            away = np.linalg.norm(camera.apply(points)[good] - true[good], axis=-1)
            found.setdefault(name, []).append(away)
    print(f'{arguments.worlds} worlds, ego at {np.mean(speeds):.1f} m/s on average '
          f'({min(speeds):.1f} to {max(speeds):.1f})\n')
    print('| pose of the camera at 0.6 s | median (m) | 75 % (m) |\n|---|---:|---:|')
    for name, parts in found.items():
        away = np.concatenate(parts)
        print(f'| {name} | {np.median(away):.2f} | {np.percentile(away, 75):.2f} |')


if __name__ == '__main__':
    main()
