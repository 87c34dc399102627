# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure how far off the present obstacles of a bundle stand, by class and distance.

In worlds of the street that are used for nothing else, the places where people and vehicles meet
the ground are found in the bundle's present maps, and in the true ones. Image columns in which
both see the same class are compared: how much too far (positive) or near the obstacle is put.

    python benchmarks/contact_depth.py --worlds 40
"""

from __future__ import annotations

import argparse

import numpy as np

from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.camera.depth_scale import depth_scale
from deltaworld_ros.camera.map_resize import reduce_map
from deltaworld_ros.engine import load_engine
from deltaworld_ros.forecast.forecaster import Forecaster
from deltaworld_ros.forecast.metres import in_metres
from deltaworld_ros.planning.contacts import ROLES, find_contacts, role_table
from deltaworld_training.street.renderer import Renderer
from deltaworld_training.street.world import StreetWorld

FIRST_SEED = 60_000
BANDS = ((0.0, 10.0), (10.0, 20.0), (20.0, 40.0))   # m
MOMENTS, STEPS = 3, 7   # pictures of a world, and steps of 0.1 s between them
LEAST = 50   # columns that make a row of the table


def main() -> None:
    """Compare both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--bundle', default='street-lite0')
    parser.add_argument('--worlds', type=int, default=40)
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle)
    m = bundle.manifest
    engine = load_engine(bundle, single_leads=True)
    renderer = Renderer(m.image_width, m.image_height)
    roles, dynamic = role_table(m.classes), ROLES.index('dynamic')
    size = (m.map_width, m.map_height)
    found = []   # class, true depth, depth too far
    for seed in range(FIRST_SEED, FIRST_SEED + arguments.worlds):
        world, forecaster = StreetWorld(seed), Forecaster(engine, m)
        for moment in range(MOMENTS):
            for _ in range(STEPS):
                world.step()
            frame = renderer.render(world)
            forecaster.observe(frame.rgb, (moment + 1) * STEPS * 10**8)
            maps = in_metres(forecaster.present(), m, depth_scale(m, frame.intrinsics))
            seen = find_contacts(maps.fused_labels[0], maps.fused_depth[0], roles)
            true = find_contacts(
                reduce_map(frame.labels, size), reduce_map(frame.depth, size), roles)
            depth, truth = seen.depth[dynamic], true.depth[dynamic]
            both = np.isfinite(depth) & np.isfinite(truth) & (
                seen.label[dynamic] == true.label[dynamic])
            found.append(np.stack(
                [true.label[dynamic][both], truth[both], (depth - truth)[both]], axis=1))
    label, truth, error = np.concatenate(found).T
    print('| class | distance (m) | columns | median (m) | 5 % (m) | 95 % (m) |\n'
          '|---|---|---:|---:|---:|---:|')
    for number, entry in enumerate(m.classes):
        for low, high in BANDS:
            chosen = error[(label == number) & (truth >= low) & (truth < high)]
            if len(chosen) >= LEAST:
                median, near, far = np.percentile(chosen, [50, 5, 95])
                print(f'| {entry.name} | {low:g} to {high:g} | {len(chosen)} | {median:+.1f} | '
                      f'{near:+.1f} | {far:+.1f} |')


if __name__ == '__main__':
    main()
