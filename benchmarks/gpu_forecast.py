# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure forecasts on a GPU in one call, and how much of the card's matrix rate they reach.

First the card's rate on large matrix products is measured with torch, then every engine of this
machine forecasts with the shipped bundle and with ViT-B of random weights at 512 px: 20 plain
samples, all decoded, three leads. The networks' work is counted by deltaworld_ros/model/cost.py.
Results are written after each measurement, so that a run which is cut off leaves what it had.

    python benchmarks/gpu_forecast.py
    python benchmarks/gpu_forecast.py --tiny --output /tmp/results    # to try it without a GPU
"""

from __future__ import annotations

import argparse
import copy
import datetime
import json
import logging
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.bundle.class_lists import CITYSCAPES
from deltaworld_ros.engine import ENGINES, EngineUnavailable, load_engine
from deltaworld_ros.evaluate.benchmark import benchmark
from deltaworld_ros.export.convert import Converted, Head, fit_to_size, own_size
from deltaworld_ros.export.converted_bundle import converted_manifest
from deltaworld_ros.export.cost import forecast_cost
from deltaworld_ros.export.precision import PRECISIONS, Precision
from deltaworld_ros.export.write_bundle import export_bundle
from deltaworld_ros.model.networks import Networks, build_networks

ROOT = Path(__file__).resolve().parents[1]
GPU = torch.cuda.is_available()
DEVICE = torch.device('cuda' if GPU else 'cpu')
SAMPLES = 20
# The paper's ViT-B, and the same shape at a size for a test.
VIT_B = {'size': 768, 'heads': 12, 'layers': 12, 'mlp': 3072, 'gated_mlp': 2048, 'side': 512}
TINY = {'size': 64, 'heads': 1, 'layers': 1, 'mlp': 128, 'gated_mlp': 96, 'side': 32}


def card() -> dict[str, Any]:
    """Name the card and its driver; without a GPU, this processor."""
    if not GPU:
        return {'gpu': 'cpu', 'torch': torch.__version__}
    query = ['nvidia-smi', '--query-gpu=driver_version,memory.total', '--format=csv,noheader']
    asked = subprocess.run(query, capture_output=True, text=True, check=False)
    return {
        'gpu': torch.cuda.get_device_name(), 'torch': torch.__version__,
        'driver_and_memory': asked.stdout.strip().partition('\n')[0]}


def seconds(call: Callable[[], Any], repetitions: int) -> float:
    """Return the median time of a call on the device."""
    times = []
    for _ in range(3 + repetitions):
        started = time.perf_counter()
        call()
        if GPU:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return float(np.median(times[3:]))


def matrix_rate(dtype: torch.dtype, side: int) -> float:
    """Measure products of two random (side, side) matrices, in TFLOP/s."""
    left, right = (torch.randn(side, side, device=DEVICE).to(dtype) for _ in range(2))
    return 2e-12 * side ** 3 / seconds(lambda: left @ right, 20)


def vit_networks(sizes: dict[str, int]) -> Networks:
    """Build the released architecture, untrained."""
    width = {name: sizes[name] for name in ('size', 'heads', 'layers')}
    grid = [sizes['side'] // 16] * 2
    return build_networks({
        'backbone': {'kind': 'dinov3', 'mlp_size': sizes['mlp'], **width},
        'tokenizer': {'kind': 'delta', 'grid': grid, 'mlp_size': sizes['gated_mlp'], **width},
        'world': {'kind': 'deltaworld', 'mlp_size': sizes['mlp'], **width},
        'segmentation': {'kind': 'linear', 'size': sizes['size'], 'classes': len(CITYSCAPES)},
        'depth': {'kind': 'linear', 'size': sizes['size']}})


def randomise(networks: Networks, side: int) -> None:
    """Draw weights of a trained network's magnitude."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in networks.parts().values():
            for name, parameter in part.named_parameters():
                if 'lambda1' in name:
                    parameter.fill_(0.1)
                elif parameter.ndim > 1:
                    parameter.normal_(0.0, parameter[0].numel() ** -0.5, generator=generator)
        # Of random heads the best two classes are nearly equal, which no half type decides alike.
        bias = networks.segmentation.head.bias
        assert bias is not None
        bias.copy_(10.0 * torch.arange(len(CITYSCAPES)))
        fit_to_size(networks, side, side)


def work(networks: Networks) -> dict[str, float]:
    """Count the GFLOPs of a forecast as the node makes it: one new frame, every sample decoded."""
    meta = {name: copy.deepcopy(part).to('meta') for name, part in networks.parts().items()}
    cost = forecast_cost(
        meta['backbone'], meta['tokenizer'], meta['world'],  # type: ignore[arg-type]
        own_size(networks), context=4, steps=3, samples=SAMPLES)
    assert cost.encoder is not None and cost.decoder is not None
    parts = {
        # The new frame is encoded against the frame before it and against the black frame.
        'observe': cost.backbone.gflops + 2 * cost.encoder.gflops,
        'rollout': SAMPLES * sum(step.gflops for step in cost.predictor),
        'decode': SAMPLES * len(cost.predictor) * cost.decoder.gflops}
    return {**parts, 'total': sum(parts.values())}


def vit_bundle(networks: Networks, precision: Precision, folder: Path) -> Bundle:
    """Export the networks as `deltaworld convert` and `export` do."""
    head = Head(networks.segmentation, networks.sizes['segmentation'], CITYSCAPES)
    converted = Converted(networks, 'delta', {'random': head}, [], [])
    manifest = converted_manifest(converted, f'vit-{precision}')
    noise = np.random.default_rng(0).integers(0, 256, (4, 24, 24, 3), dtype=np.uint8)
    side = (manifest.image_width, manifest.image_height)
    frames = np.stack([cv2.resize(frame, side) for frame in noise])
    export_bundle(folder, manifest, networks, frames, 0.2 * np.arange(4), None, 'none',
                  half_weights=False, precision=precision)
    return load_bundle(folder)


def measure(name: str, bundle: Bundle, repetitions: int, samples: int | None) -> dict[str, Any]:
    """Forecast with one engine; whatever keeps it from that is its result."""
    try:
        engine = load_engine(bundle, name)
        if GPU and 'cpu' in engine.name.lower():
            raise EngineUnavailable(f'{engine.name} does not use the GPU')
    # Engines fail in their own ways; the others must still be measured.
    except Exception as error:
        return {'error': ' '.join(str(error).split())[:500]}
    try:
        return benchmark(engine, bundle, num_samples=samples, num_futures=samples,
                         repetitions=repetitions)
    except Exception as error:
        return {'error': f'{type(error).__name__}: {" ".join(str(error).split())[:500]}'}
    finally:
        engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n\n')[0])
    here = [name for name in ENGINES if name != 'onnxruntime-cpu'] if GPU else [
        'onnxruntime-cpu', 'torch']
    parser.add_argument('--engines', nargs='+', choices=list(ENGINES), default=here)
    parser.add_argument('--precisions', nargs='+', choices=list(PRECISIONS),
                        default=['fp16', 'bf16'] if GPU else ['fp16'])
    parser.add_argument('--repetitions', type=int, default=50, help='forecasts of each')
    parser.add_argument('--tiny', action='store_true', help='tiny networks, to try this script')
    parser.add_argument('--output', type=Path, default=ROOT / 'benchmarks' / 'results',
                        help='folder for the results')
    options = parser.parse_args()
    sizes = TINY if options.tiny else VIT_B
    # The exporter warns of its own insides.
    warnings.filterwarnings('ignore')
    logging.getLogger('torch.onnx').setLevel(logging.ERROR)
    result: dict[str, Any] = {
        **card(), 'date': datetime.date.today().isoformat(), 'networks': sizes,
        'samples': SAMPLES, 'matrix_tflops': {}, 'measurements': []}
    options.output.mkdir(parents=True, exist_ok=True)
    name = re.sub('[^a-z0-9]+', '-', result['gpu'].lower())
    path = options.output / f'{name}-{result["date"]}.json'
    table = Table('bundle', 'engine', 'ms', 'forecasts/s', 'TFLOP/s', 'share')
    with tempfile.TemporaryDirectory() as folder:
        bundles: dict[str, tuple[Bundle, int | None]] = {
            'street-lite0': (load_bundle('street-lite0'), None)}
        networks = vit_networks(sizes)
        randomise(networks, sizes['side'])
        gflops = result['gflops'] = work(networks)
        for precision in options.precisions:
            result['matrix_tflops'][precision] = matrix_rate(
                PRECISIONS[precision], 8192 if GPU else 256)
            print(f'Exporting ViT in {precision}', file=sys.stderr, flush=True)
            bundles[precision] = (
                vit_bundle(networks, precision, Path(folder) / precision), SAMPLES)
        for precision, (bundle, samples) in bundles.items():
            for engine in options.engines:
                figures = measure(engine, bundle, options.repetitions, samples)
                row: dict[str, Any] = {
                    'bundle': bundle.manifest.name, 'engine': engine, **figures}
                if 'error' not in figures and samples is not None:
                    row['tflops'] = 1e-3 * gflops['total'] * figures['forecasts_per_second']
                    row['share'] = row['tflops'] / result['matrix_tflops'][precision]
                result['measurements'].append(row)
                path.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
                print(row['bundle'], engine, figures.get('error', 'measured'), file=sys.stderr,
                      flush=True)
                if 'error' not in figures:
                    table.add_row(
                        row['bundle'], figures['engine'],
                        f'{figures["median_ms"]["total"]:.1f}',
                        f'{figures["forecasts_per_second"]:.1f}',
                        f'{row["tflops"]:.1f}' if 'tflops' in row else '',
                        f'{row["share"]:.1%}' if 'share' in row else '')
    Console().print(table)
    print(f'Wrote {path}', file=sys.stderr)
    if not table.row_count:
        sys.exit('no engine of this machine could forecast')


if __name__ == '__main__':
    main()
