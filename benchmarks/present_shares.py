# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Score the classes of a bundle by the share that the present map has in them.

Run as `python benchmarks/present_shares.py BUNDLE RUN` on a RUN of the recipe that the bundle was
trained by, which caches the validation clips in RUN/calibration_street and
RUN/calibration_videos. The temperatures are the bundle's. Needs a CPU and some minutes.
"""

import argparse
from pathlib import Path
from typing import Any

from deltaworld_ros.bundle.class_lists import STREET
from deltaworld_ros.bundle.load import load_bundle
from deltaworld_ros.evaluate.scorers.segmentation import class_iou, mean_iou, pixel_accuracy
from deltaworld_ros.export.graph_networks import graph_networks
from deltaworld_ros.export.graphs import graph_modules
from deltaworld_training.data.feature_store import FeatureStore
from deltaworld_training.stages.calibration import pixel_counts, window_scores
from deltaworld_training.stages.sampled_windows import sample_windows

SHARES = (None, 0.1, 0.2, 0.3, 0.4, 0.5)
SHOWN = ('vehicle', 'pedestrian', 'lane_marking', 'pole')
STORES = ('calibration_street', 'calibration_videos')
WINDOWS, SEED = 100, 0


def main() -> None:
    """Read the arguments and print a line for each store, lead and share."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('bundle', help='shipped name or folder')
    parser.add_argument('run', type=Path, help='folder of the run')
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle)
    manifest, networks = bundle.manifest, graph_networks(bundle)
    decode: Any = graph_modules(networks, manifest)['decode']
    names = [one.name for one in STREET]
    for store in STORES:
        windows = sample_windows(
            networks, manifest, FeatureStore(arguments.run / store), WINDOWS, SEED)
        for lead, scores in enumerate(window_scores(manifest, decode, windows)[1:], start=1):
            for share in SHARES:
                found = pixel_counts(decode, scores, manifest.temperatures[lead], share)
                iou = class_iou(found)
                print(f'{store}, {manifest.leads[lead - 1]} s, share {share}: mIoU '
                      f'{mean_iou(found):.3f}, right pixels {pixel_accuracy(found):.3f}, '
                      + ', '.join(f'{name} {iou[names.index(name)]:.3f}' for name in SHOWN),
                      flush=True)


if __name__ == '__main__':
    main()
