# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Compare the streaming runtime with encoding the whole window anew for each frame.

Both forecast from the same frames with the same weights, noise and number of samples, all of
which are decoded, on the same CPU threads and in turn (A B A B), so that other work on the
machine slows both. The runtime is this package's Forecaster on ONNX Runtime. The other does in
plain torch what the released evaluation code does: the backbone on the black frame and on the
four of the context, four pairs through the encoder, rollout, decoder, heads.

    python benchmarks/runtime_against_reencoding.py --json runtime.json
    python benchmarks/runtime_against_reencoding.py --networks vit-small
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.engine import load_engine
from deltaworld_ros.export.graph_networks import graph_networks
from deltaworld_ros.export.graphs import graph_modules
from deltaworld_ros.forecast.forecaster import Forecast, Forecaster
from deltaworld_ros.forecast.noise import sample_noise
from deltaworld_ros.model.grid_tokenizer import GridDeltaTok
from deltaworld_ros.model.networks import Networks
from deltaworld_ros.model.rotary import time_table

MAPS = ('labels', 'depth', 'fused_labels', 'fused_depth', 'confidence')
# What is asked of the runtime: how many times faster at this number of samples.
REQUIRED = {1: 2.5, 20: 1.3}
WARM_UP = 2


class ReencodingForecaster:
    """
    Forecasts of a window of frames by the plain networks; nothing is kept between frames.

    The noise is that of a `Forecaster` with the same seed. Without `black_frame` the backbone is
    spared the black frame, for which the street recipes' tokenizers need none.
    """

    def __init__(self, networks: Networks, manifest: Manifest, num_samples: int,
                 seed: int = 0, black_frame: bool = True) -> None:
        self._networks = networks
        self._manifest = m = manifest
        self._decode: Any = graph_modules(networks, manifest)['decode']
        self._black_frame = black_frame or isinstance(networks.tokenizer, GridDeltaTok)
        self._noise = torch.from_numpy(sample_noise(
            m, m.queries, num_samples, np.random.default_rng(seed)))[None]

    @torch.inference_mode()
    def forecast(self, frames: np.ndarray, stamps: np.ndarray) -> dict[str, np.ndarray]:
        """
        Forecast from frames (T, h, w, 3) uint8 at stamps (T,) in seconds.

        The maps are those of `Forecast`, the fused ones without the present's entry.
        """
        m, networks = self._manifest, self._networks
        images = torch.from_numpy(frames).permute(0, 3, 1, 2)
        if self._black_frame:
            images = torch.cat([torch.zeros_like(images[:1]), images])
        features = networks.backbone(images)
        tokens = self._encode(features)
        times = np.concatenate([stamps - stamps[-1], m.leads])
        table = time_table(
            torch.from_numpy(times), torch.tensor(m.rotary_frequencies, dtype=torch.float64))
        future = networks.world.rollout(
            tokens[None], (table[0][None], table[1][None]), self._noise)[0]
        weights = torch.full((1, len(future)), 1 / len(future))
        found = self._decode(features[-1:], future[None], weights)[:len(MAPS)]
        # The fused maps begin with the present.
        return {name: value[0, 1:].numpy() if 'fused' in name or name == 'confidence'
                else value[0].numpy() for name, value in zip(MAPS, found, strict=True)}

    def _encode(self, features: Tensor) -> Tensor:
        """Encode the features of a window as its anchor token and the delta tokens after it."""
        tokenizer = self._networks.tokenizer
        if isinstance(tokenizer, GridDeltaTok):
            return tokenizer.encode(features[:-1], features[1:])
        # The street recipes' tokenizers know the black frame without its features.
        context = features[-self._manifest.context_length:]
        return torch.cat([
            tokenizer.encode_anchor(context[:1]), tokenizer.encode(context[:-1], context[1:])])


def shipped_networks(name: str) -> tuple[Bundle, Networks]:
    """Return a bundle of the street recipes and its networks, read back from its graphs."""
    bundle = load_bundle(name)
    return bundle, graph_networks(bundle)


def vit_small(folder: Path) -> tuple[Bundle, Networks]:
    """Export the paper's networks at ViT-S's size, with random weights, for 256 x 256 pixels."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'test'))
    from support.vit_bundle import export_vit_bundle, vit_networks

    networks = vit_networks(layers=12, size=384, heads=6, grid=(16, 16))
    return export_vit_bundle(folder, networks, steps=3), networks


class Stream:
    """Frames one stride apart that go round the golden frames of a bundle."""

    def __init__(self, bundle: Bundle) -> None:
        with np.load(bundle.file('golden.npz'), allow_pickle=False) as golden:
            self._frames = golden['frames']
        self._stride = bundle.manifest.stride

    def frame(self, number: int) -> tuple[np.ndarray, float]:
        """Return a frame and its stamp in seconds."""
        return self._frames[number % len(self._frames)], round(number * self._stride, 9)

    def window(self, newest: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the frames up to the newest one, and their stamps."""
        frames, stamps = zip(
            *(self.frame(number) for number in range(newest - length + 1, newest + 1)),
            strict=True)
        return np.stack(frames), np.array(stamps)


def compare(bundle: Bundle, networks: Networks, samples: int, repetitions: int,
            threads: int) -> dict[str, Any]:
    """Time all in turn and return medians in milliseconds, ratios and the maps' agreement."""
    manifest, stream = bundle.manifest, Stream(bundle)
    engine = load_engine(bundle, 'onnxruntime-cpu', threads)
    runtime = Forecaster(engine, manifest, num_samples=samples, num_futures=samples)
    others = {'reencoding': ReencodingForecaster(networks, manifest, samples)}
    if not isinstance(networks.tokenizer, GridDeltaTok):
        others['reencoding_no_black'] = ReencodingForecaster(
            networks, manifest, samples, black_frame=False)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ('runtime', *others)}
    length = manifest.context_length
    for number in range(length - 1):
        runtime.observe(*stream.frame(number))
    agreement: dict[str, float] = {}
    for number in range(length - 1, length - 1 + WARM_UP + repetitions):
        started = clocks()
        runtime.observe(*stream.frame(number))
        forecast = runtime.forecast()
        times['runtime'].append(since(started))
        window = stream.window(number, length)
        for name, other in others.items():
            started = clocks()
            maps = other.forecast(*window)
            times[name].append(since(started))
        agreement = agreement or compare_maps(forecast, maps)
    engine.close()
    spent = {name: 1e3 * np.array(values[WARM_UP:]) for name, values in times.items()}
    result: dict[str, Any] = {
        'bundle': manifest.name, 'samples': samples, 'threads': threads,
        'repetitions': repetitions, 'required': REQUIRED.get(samples), **agreement}
    for clock, kind in enumerate(('wall', 'cpu')):
        result[f'{kind}_ms'] = {
            name: float(np.median(values[:, clock])) for name, values in spent.items()}
        # Of each pair of neighbours: what slows the machine for a while slows both.
        result[f'{kind}_times_faster'] = {
            name: float(np.median(spent[name][:, clock] / spent['runtime'][:, clock]))
            for name in others}
    return result


def clocks() -> tuple[float, float]:
    """Read the wall clock and the CPU time of all threads of this process, in seconds."""
    return time.perf_counter(), time.process_time()


def since(started: tuple[float, float]) -> tuple[float, float]:
    """Return the wall and CPU seconds since."""
    now = clocks()
    return now[0] - started[0], now[1] - started[1]


def compare_maps(forecast: Forecast, maps: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the least share of equal labels and the largest median relative error of depth."""
    assert forecast.labels is not None and forecast.depth is not None
    return {
        'equal_labels': float(min(
            (forecast.labels == maps['labels']).mean(),
            (forecast.fused_labels[1:] == maps['fused_labels']).mean())),
        'depth_error': float(max(
            np.median(np.abs(forecast.depth / maps['depth'] - 1)),
            np.median(np.abs(forecast.fused_depth[1:] / maps['fused_depth'] - 1)))),
    }


def main() -> None:
    """Compare at each number of samples and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--networks', choices=('street-lite0', 'vit-small'),
                        default='street-lite0')
    parser.add_argument('--samples', type=int, nargs='+', default=list(REQUIRED))
    parser.add_argument('--repetitions', type=int, default=20)
    parser.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument('--json', type=Path, help='write the figures here')
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        bundle, networks = (
            vit_small(Path(folder)) if arguments.networks == 'vit-small'
            else shipped_networks(arguments.networks))
        for samples in arguments.samples:
            result = compare(bundle, networks, samples, arguments.repetitions, arguments.threads)
            results.append(result)
            print(f'{result["bundle"]}, K={samples}, {arguments.threads} threads: labels equal '
                  f'{result["equal_labels"]:.2%}, depth within {result["depth_error"]:.2%}')
            for kind in ('wall', 'cpu'):
                for name, value in result[f'{kind}_ms'].items():
                    ratio = result[f'{kind}_times_faster'].get(name, 1.0)
                    print(f'    {name:20} {value:8.1f} ms {kind}  {ratio:6.2f}', flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding='utf-8')


if __name__ == '__main__':
    main()
