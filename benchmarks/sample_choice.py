# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Score a bundle's futures by how noise is drawn and by what stands for many samples.

Run as `python benchmarks/sample_choice.py BUNDLE RUN` on a RUN of the recipe that the bundle was
trained by, which caches the validation clips in RUN/calibration_street and
RUN/calibration_videos. Noise is drawn one by one or evenly, a future is the most central sample
of those that it stands for or their mean; beside them 20 plain samples. Scored are the fused map
at the last lead and that of the future whose features come closest. Needs a CPU and some minutes.
"""

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deltaworld_ros.bundle.load import load_bundle
from deltaworld_ros.evaluate.scorers.features import smooth_l1
from deltaworld_ros.evaluate.scorers.segmentation import mean_iou
from deltaworld_ros.export.graph_networks import graph_networks
from deltaworld_ros.export.graphs import graph_modules
from deltaworld_ros.forecast.noise import sample_noise
from deltaworld_ros.forecast.selection import select_futures, temper
from deltaworld_training.data.feature_store import FeatureStore
from deltaworld_training.stages.calibration import pixel_counts, window_scores
from deltaworld_training.stages.sampled_windows import (
    SampledWindow,
    drawn_windows,
    sample_tokens,
)

STORES = ('calibration_street', 'calibration_videos')
WINDOWS, SEED, PLAIN = 100, 0, 20


class Trial:
    """Windows of a store, each with the futures that one way of choosing gives."""

    def __init__(self, networks: Any, manifest: Any) -> None:
        """Build the graph that decodes."""
        self.networks, self.manifest = networks, manifest
        self.decode: Any = graph_modules(networks, manifest)['decode']

    def futures(self, way: str, sampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens and weights of the futures that stand for samples."""
        m = self.manifest
        if way == 'plain':
            return sampled, np.full(len(sampled), 1 / len(sampled), np.float32)
        return select_futures(
            sampled, m.num_futures, m.selection_dimensions, averaged=way == 'mean')

    @torch.no_grad()
    def walk(self, tokens: Tensor, start: Tensor) -> Tensor:
        """Decode tokens (K, S, Dz) on features (1, N, D) to those of the last lead."""
        current = start.expand(len(tokens), -1, -1)
        for token in tokens.unbind(1):
            current = self.networks.tokenizer.decode(token, current)
        return current

    def score(self, windows: list[SampledWindow]) -> str:
        """Return a line of the mean errors and the mIoU of the fused and of the best future."""
        m, lead = self.manifest, self.manifest.steps
        errors, best = [], []
        for window in windows:
            decoded, came = self.walk(window.tokens, window.features[:1]), window.features[-1]
            weights = torch.from_numpy(temper(window.weights.numpy(), m.weight_temperature))
            fused = self.walk(
                (window.tokens * weights[:, None, None]).sum(0, keepdim=True),
                window.features[:1])
            place = int(smooth_l1(decoded.numpy(), came.numpy()).argmin())
            errors.append([float((one - came).square().mean()) for one in (
                window.features[0], fused[0], decoded[place])])
            # Alone, the best future is what is fused.
            best.append(SampledWindow(
                window.features, window.labels, window.tokens[place:place + 1], torch.ones(1)))
        copy, fused_error, best_error = np.sum(errors, axis=0)
        iou = [mean_iou(pixel_counts(
            self.decode, window_scores(m, self.decode, some)[lead], m.temperatures[lead],
            m.present_shares[lead - 1] if m.present_shares else None)) for some in (windows, best)]
        return (f'fused: feature error {fused_error / copy:.3f}, mIoU {iou[0]:.3f}; '
                f'best: {best_error / copy:.3f}, {iou[1]:.3f}')


def main() -> None:
    """Read the arguments and print a line for each store and way."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('bundle', help='shipped name or folder')
    parser.add_argument('run', type=Path, help='folder of the run')
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle)
    m, networks = bundle.manifest, graph_networks(bundle)
    trial, present = Trial(networks, m), m.context_length - 1
    for store in STORES:
        random = np.random.default_rng(SEED)
        found: dict[str, list[SampledWindow]] = {}
        for features, labels, times in drawn_windows(
                m, FeatureStore(arguments.run / store), WINDOWS, random):
            for drawn, count in itertools.product(
                    ('one by one', 'evenly'), (m.num_samples, PLAIN)):
                noise = sample_noise(m, m.queries, count, random)
                if drawn == 'one by one':
                    noise[:] = m.noise_std * random.standard_normal(noise.shape)
                    if m.queries == 'kept':
                        noise[:] = noise[:, :1]
                sampled = sample_tokens(networks, m, features[:present + 1], times, noise)
                for way in ('plain',) if count == PLAIN else ('central', 'mean'):
                    tokens, weights = (
                        torch.from_numpy(part) for part in trial.futures(way, sampled))
                    found.setdefault(f'noise {drawn}, {len(tokens)} of {count}, {way}', []).append(
                        SampledWindow(features[present:], labels[present:], tokens, weights))
        for name, windows in found.items():
            print(f'{store}, {name}: {trial.score(windows)}', flush=True)


if __name__ == '__main__':
    main()
