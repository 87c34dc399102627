# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure whether decoding upon own reconstructions lessens drift (paper, appendix D).

    python benchmarks/own_reconstructions.py RECORDING... --bundle street-lite0 --horizon 2.0

Three ways are compared on the same frames and noise. `now`: what the package does: tokens of true
pairs, forecasts decoded upon the last true frame, and beyond the bundle's leads the predicted
tokens are the context. `re-encoded`: the same, but beyond the bundle's leads the context is
encoded anew from the frames that were decoded. `own`: each token of the context is relative to the
reconstruction before it, from the oldest frame of the context on, and forecasts are decoded upon
the last reconstruction. Needs torch and the training package.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bundle.load import load_bundle
from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.bundle.time_tables import time_tables
from deltaworld_ros.camera.image_fit import ImageFit
from deltaworld_ros.evaluate.demo import SAMPLE_BAG
from deltaworld_ros.export.graph_networks import graph_networks
from deltaworld_ros.forecast.noise import sample_noise
from deltaworld_ros.forecast.selection import select_futures
from deltaworld_ros.model.networks import Networks

WAYS = ('now', 're-encoded', 'own')
Array = NDArray[np.float32]


class Roller:
    """Rolls futures on to a horizon, in each of WAYS."""

    def __init__(self, networks: Networks, manifest: Manifest, steps: int) -> None:
        self.tokenizer, self.world, self.manifest = networks.tokenizer, networks.world, manifest
        self.steps = steps

    def context(self, frames: Tensor, way: str) -> tuple[Tensor, Tensor]:
        """Return the tokens (T, Dz) of frames (T, N, D) and what is decoded upon (1, N, D)."""
        anchor = self.tokenizer.encode_with_anchor(frames[:1], frames[:1])[1]
        if way != 'own':
            deltas = self.tokenizer.encode(frames[:-1], frames[1:])
            return torch.cat([anchor, deltas]), frames[-1:]
        tokens, current = [anchor], frames[:1]
        for frame in frames[1:]:
            tokens.append(self.tokenizer.encode(current, frame[None]))
            current = self.tokenizer.decode(tokens[-1], current)
        return torch.cat(tokens), current

    def predict(self, tokens: Tensor, times: np.ndarray, count: int, random: np.random.Generator,
                ) -> Tensor:
        """Return `count` samples (M, S, Dz) after tokens (T, Dz) at times (T,)."""
        m = self.manifest
        ahead = m.stride * np.arange(1, m.steps + 1)
        cos, sin = (torch.from_numpy(table)[None] for table in time_tables(
            np.concatenate([times - times[-1], ahead]), m.rotary_frequencies))
        noise = torch.from_numpy(sample_noise(m, m.queries, count, random))
        return self.world.rollout(tokens[None], (cos, sin), noise[None])[0]

    def roll(self, frames: Tensor, times: np.ndarray, way: str) -> tuple[Array, Array]:
        """Return features (K, steps, N, D) of the futures and their weights (K,)."""
        m, random = self.manifest, np.random.default_rng(0)
        context, upon = self.context(frames, way)
        sampled = self.predict(context, times, m.num_samples, random)
        chosen, weights = select_futures(
            sampled.numpy(), m.num_futures, m.selection_dimensions, averaged=m.fused == 'tokens')
        futures = []
        for token in torch.from_numpy(chosen):
            sequence, decoded, when = list(context), list(upon), [*times]
            predicted = token
            while True:
                for one in predicted:
                    decoded.append(self.tokenizer.decode(one[None], decoded[-1][None])[0])
                sequence += list(predicted)
                when += [when[-1] + m.stride * step for step in range(1, m.steps + 1)]
                if len(decoded) > self.steps:
                    break
                window = torch.stack([sequence[0], *sequence[1 - m.context_length:]])
                moments = np.array([when[0], *when[1 - m.context_length:]])
                if way == 're-encoded':
                    seen = torch.stack([*frames[:-1], *decoded])[-m.context_length:]
                    window = self.context(seen, 'now')[0]
                    moments = np.array(when[-m.context_length:])
                predicted = self.predict(window, moments, 1, random)[0]
            futures.append(torch.stack(decoded[1:self.steps + 1]))
        return torch.stack(futures).numpy(), weights


def errors(roller: Roller, features: Tensor, stamps: np.ndarray, every: float,
           ) -> dict[str, list[np.ndarray]]:
    """Return by way for each forecast (steps, 3) squared errors: fused, one future, copy-last."""
    m = roller.manifest
    found: dict[str, list[np.ndarray]] = {way: [] for way in WAYS}
    half = 0.5 * float(np.median(np.diff(stamps))) + 1e-6
    past = -m.stride * np.arange(m.context_length)[::-1]
    ahead = m.stride * np.arange(1, roller.steps + 1)
    for now in np.arange(stamps[0] - past[0], stamps[-1] - ahead[-1] + half, every):
        wanted = now + np.concatenate([past, ahead])
        places = np.abs(stamps[:, None] - wanted).argmin(0)
        if (np.abs(stamps[places] - wanted) > half).any():
            continue
        context, truth = places[:m.context_length], features[places[m.context_length:]].numpy()
        present = features[context[-1]].numpy()
        for way in WAYS:
            futures, weights = roller.roll(
                features[context], stamps[context] - stamps[context[-1]], way)
            fused = np.tensordot(weights, futures, 1)
            one = np.tensordot(weights, ((futures - truth) ** 2).mean((2, 3)), 1)
            found[way].append(np.stack([
                ((fused - truth) ** 2).mean((1, 2)), one,
                ((present - truth) ** 2).mean((1, 2))], axis=-1))
    return found


def read_features(path: Path, networks: Networks, manifest: Manifest) -> tuple[Tensor, np.ndarray]:
    """Return the features (F, N, D) of a recording's frames and their stamps (F,) in s."""
    features, stamps = [], []
    with BagFrames(path) as bag:
        for frame in bag:
            height, width = frame.image.shape[:2]
            image = ImageFit(width, height, manifest.image_width, manifest.image_height).apply(
                frame.image)
            features.append(networks.backbone(torch.from_numpy(image).permute(2, 0, 1)[None])[0])
            stamps.append(frame.stamp / 1e9)
    return torch.stack(features), np.array(stamps)


@torch.inference_mode()
def main() -> None:
    """Print a table of feature errors relative to copy-last by lead."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('recordings', nargs='*', type=Path, default=[Path(SAMPLE_BAG)])
    parser.add_argument('--bundle', default='street-lite0')
    parser.add_argument('--horizon', type=float, default=2.0, help='s')
    parser.add_argument('--every', type=float, default=0.4, help='s between two forecasts')
    given = parser.parse_args()
    bundle = load_bundle(given.bundle)
    networks, manifest = graph_networks(bundle), bundle.manifest
    roller = Roller(networks, manifest, round(given.horizon / manifest.stride))
    found: dict[str, list[np.ndarray]] = {way: [] for way in WAYS}
    for path in given.recordings:
        measured = errors(roller, *read_features(path, networks, manifest), given.every)
        for way in WAYS:
            found[way] += measured[way]
    print(f'{len(found["now"])} forecasts; squared feature error / that of copy-last: fused '
          '(one future)')
    leads = [manifest.stride * step for step in range(1, roller.steps + 1)]
    print('| | ' + ' | '.join(f'{lead:.1f} s' for lead in leads) + ' |')
    print('|---' * (len(leads) + 1) + '|')
    for way in WAYS:
        fused, one, still = np.moveaxis(np.mean(found[way], axis=0), -1, 0)
        cells = [f'{a:.3f} ({b:.3f})' for a, b in zip(fused / still, one / still, strict=True)]
        print(f'| {way} | ' + ' | '.join(cells) + ' |')


if __name__ == '__main__':
    main()
