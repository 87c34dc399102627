# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Tell how right the weights of the K futures are, before and after their temperature.

    python benchmarks/weight_reliability.py RUN --bundle street-lite0

RUN is the folder of `deltaworld train bundle`, which keeps clips that no part is trained on in
RUN/calibration_street and RUN/calibration_videos. The temperature is fitted on every other clip
and judged on the rest. The backbone must be that of the bundle. Needs a CPU and some minutes.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deltaworld_ros.bundle.load import load_bundle
from deltaworld_ros.evaluate.scorers.calibration import reliability
from deltaworld_ros.export.graph_networks import graph_networks
from deltaworld_ros.forecast.selection import temper
from deltaworld_training.data.feature_store import FeatureStore
from deltaworld_training.stages.sampled_windows import SampledWindow, sample_windows
from deltaworld_training.stages.weight_calibration import (
    closest_future,
    fit_weight_temperature,
    log_loss,
)

STORES = ('calibration_street', 'calibration_videos')


def report(windows: Sequence[SampledWindow], closest: Sequence[int], temperature: float) -> str:
    """Return log loss, calibration error and the reliability by weight, as a line of a table."""
    weights = np.stack([temper(window.weights.numpy(), temperature) for window in windows])
    hits = np.zeros_like(weights)
    hits[np.arange(len(hits)), closest] = 1
    error = np.abs(weights.mean(0) - hits.mean(0)).sum() / 2
    futures, best, summed = reliability(weights.ravel(), hits.ravel(), 5)
    bins = ', '.join(f'{mass / count:.2f}: {right / count:.2f} ({count:.0f})'
                     for count, right, mass in zip(futures, best, summed, strict=True) if count)
    return (f'| {temperature:g} | {log_loss(windows, closest, temperature):.3f} | {error:.3f} '
            f'| {bins} |')


def main() -> None:
    """Print a table a store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('run', type=Path)
    parser.add_argument('--bundle', default='street-lite0')
    parser.add_argument('--windows', type=int, default=150, help='of each store and half')
    given = parser.parse_args()
    bundle = load_bundle(given.bundle)
    networks, manifest = graph_networks(bundle), bundle.manifest
    halves: list[list[list[SampledWindow]]] = [[], []]
    for name in STORES:
        store = FeatureStore(given.run / name)
        for half, kept in enumerate(halves):
            some = copy.copy(store)
            some.done = np.zeros_like(store.done)
            some.done[store.clips[half::2]] = True
            kept.append(sample_windows(networks, manifest, some, given.windows, half))
    temperature = fit_weight_temperature(networks, halves[0])
    print(f'Fitted temperature {temperature:g}; of {manifest.num_samples} samples')
    for name, windows in zip(STORES, halves[1], strict=True):
        closest = [closest_future(networks, window) for window in windows]
        print(f'\n{name}, {len(windows)} windows that it was not fitted on\n\n'
              '| temperature | log loss of the closest | calibration error | weight: share of '
              'being the closest (futures) |\n|---|---|---|---|')
        for one in (1.0, temperature, 10.0):
            print(report(windows, closest, one))


if __name__ == '__main__':
    main()
