# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure ways to forecast more cheaply against the default: latency and quality in one table.

Every way forecasts in turn with the default in one process (A B A B), on one thread, so that
other work on the machine slows both; the table gives ratios of CPU time. Quality is measured on a
bag with ground truth, at the same moments for all. What was measured is kept in --output and not
measured again.

    deltaworld train world --seed 0 --clips 12 --bag street
    python benchmarks/cheaper_forecasts.py --bag street --output runs/cheaper
    python benchmarks/cheaper_forecasts.py --bag street --output runs/cheaper --decoder 2=FILE
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import shutil
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from deltaworld_ros.bags.frames import BagFrames
from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.bundle.manifest import Manifest, write_manifest
from deltaworld_ros.engine.onnxruntime_engine import OnnxRuntimeEngine
from deltaworld_ros.engine.parity import check_parity
from deltaworld_ros.evaluate.drive import Options
from deltaworld_ros.evaluate.evaluator import Evaluator
from deltaworld_ros.export.graph_networks import graph_networks
from deltaworld_ros.export.write_bundle import export_bundle
from deltaworld_ros.forecast.forecaster import Forecaster
from deltaworld_ros.model.networks import Networks
from deltaworld_training.stages.parts import load_part, read_part

# The longest context of those compared: 4 frames of 0.3 s.
SETTLE = 0.9
LEAD = '0.6'
METRICS = {'feature_error': 'feature error', 'miou': 'mIoU', 'depth_absrel': 'AbsRel'}
COLUMNS = ('fused', 'best_of_k', 'best_of_20')
WARM_UP = 2
# Bundles in INT8, and which of their graphs are.
INT8 = {'int8-decode': ('decode',), 'int8': ('rollout', 'decode')}


@dataclass(frozen=True)
class Way:
    """One way to forecast: a folder's bundle, its numbers, and which leads are decoded."""

    title: str
    bundle: str
    num_samples: int = 128
    num_futures: int = 6
    leads: tuple[int, ...] | None = None
    futures: bool = True

    @property
    def scored_as(self) -> str:
        """Name the measurement of its quality, which does not depend on the leads."""
        return f'{self.bundle}-{self.num_samples}-{self.num_futures}'


WAYS = (
    Way('default: 128 samples, 6 futures, 3 x 0.2 s, all maps', 'default'),
    Way('fused maps only, all leads', 'default', futures=False),
    Way('all maps of 0.6 s only', 'default', leads=(3,)),
    Way('fused maps of 0.6 s only', 'default', leads=(3,), futures=False),
    Way('all maps of 0.2 s only (quality still at 0.6 s)', 'default', leads=(1,)),
    Way('2 x 0.3 s', 'stride'),
    Way('256 samples', 'default', num_samples=256),
    Way('64 samples', 'default', num_samples=64),
    Way('4 futures', 'default', num_futures=4),
    Way('INT8 in the blocks of the decoder', 'int8-decode'),
    Way('INT8 in the blocks of rollout and decoder', 'int8'),
)


def export(networks: Networks, source: Bundle, folder: Path, **changes: Any) -> None:
    """Export networks as a bundle like `source`, without the fitted baselines."""
    values = {name: getattr(source.manifest, name) for name in Manifest.__annotations__}
    with np.load(source.file('golden.npz'), allow_pickle=False) as golden:
        frames, stamps = golden['frames'], golden['stamps']
    licences = source.file('LICENSES.md').read_text(encoding='utf-8')
    export_bundle(folder, Manifest(**{**values, 'name': folder.name, **changes}), networks,
                  frames, stamps, None, licences)


def with_decoder(networks: Networks, path: Path) -> Networks:
    """Return the networks with the tokenizer of a decoder stage's file."""
    tokenizer: Any = load_part(path, 'tokenizer')[0]
    sizes = {**networks.sizes, 'tokenizer': read_part(path, 'tokenizer')[0]}
    return dataclasses.replace(networks, sizes=sizes, tokenizer=tokenizer)


def quantize(source: Path, folder: Path, graphs: Sequence[str]) -> None:
    """Write a bundle with transformer blocks in these graphs that multiply in INT8."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    shutil.copytree(source, folder)
    for name in graphs:
        plain = folder / 'plain.onnx'
        # Folds the casts and transposes of weights, which otherwise stay as they are.
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(plain)
        onnxruntime.InferenceSession(
            str(source / f'{name}.onnx'), options, providers=['CPUExecutionProvider'])
        quantize_dynamic(
            plain, folder / f'{name}.onnx', per_channel=True, weight_type=QuantType.QInt8,
            nodes_to_quantize=block_products(onnx.load(plain).graph))
        plain.unlink()
    write_manifest(folder, load_bundle(source).manifest)


def block_products(graph: onnx.GraphProto) -> list[str]:
    """Name the products with weights inside transformer blocks, known by the biases after them."""
    weights = {tensor.name for tensor in graph.initializer}
    users = {value: node for node in graph.node for value in node.input}
    return [node.name for node in graph.node
            if node.op_type == 'MatMul' and node.input[1] in weights
            and any('blocks.' in name for name in users[node.output[0]].input)]


def prepare(folder: Path, shipped: str, decoders: dict[str, Path]) -> None:
    """Make the bundles that are missing."""
    source = load_bundle(shipped)
    changes: dict[str, dict[str, Any]] = {
        'default': {}, 'stride': {'stride': 0.3, 'steps': 2},
        **{f'decoder{layers}': {} for layers in decoders}}
    missing = [name for name in changes if not (folder / name / 'bundle.yaml').is_file()]
    networks = graph_networks(source) if missing else None
    for name in missing:
        assert networks is not None
        layers = name.removeprefix('decoder')
        print(f'Exporting {name}', file=sys.stderr)
        export(with_decoder(networks, decoders[layers]) if layers in decoders else networks,
               source, folder / name, **changes[name])
    for name, graphs in INT8.items():
        if not (folder / name).is_dir():
            quantize(folder / 'default', folder / name, graphs)


class Runner:
    """Forecasts again and again from a bundle's golden frames."""

    def __init__(self, folder: Path, way: Way) -> None:
        bundle = load_bundle(folder / way.bundle)
        self.engine = OnnxRuntimeEngine(bundle, threads=1)
        self.parity = check_parity(
            self.engine, bundle, leads=self.engine.prepare_leads(bundle))
        self._way = way
        self._stride = bundle.manifest.stride
        self._forecaster = Forecaster(
            self.engine, bundle.manifest, num_samples=way.num_samples,
            num_futures=way.num_futures)
        with np.load(bundle.file('golden.npz'), allow_pickle=False) as golden:
            self._frames = golden['frames']
        # As the node asks: the leads with subscribers, or the whole graph.
        self._leads = way.leads
        if self._leads is None and not way.futures:
            self._leads = tuple(range(bundle.manifest.steps + 1))
        self._number = 0
        while not self._forecaster.ready:
            self._observe()

    def _observe(self) -> None:
        frame = self._frames[self._number % len(self._frames)]
        self._forecaster.observe(frame, round(self._number * self._stride, 9))
        self._number += 1

    def forecast(self) -> tuple[float, float]:
        """Take in a frame and forecast; give the CPU and wall time in milliseconds."""
        cpu, wall = time.process_time(), time.perf_counter()
        self._observe()
        self._forecaster.forecast(futures=self._way.futures, leads=self._leads)
        return 1e3 * (time.process_time() - cpu), 1e3 * (time.perf_counter() - wall)


def latency(folder: Path, way: Way, repetitions: int) -> dict[str, Any]:
    """Time a way in turn with the default."""
    default, other = Runner(folder, WAYS[0]), Runner(folder, way)
    times = np.array([(default.forecast(), other.forecast())
                      for _ in range(WARM_UP + repetitions)])[WARM_UP:]
    ratios = np.median(times[:, 1] / times[:, 0], axis=0)
    result = {
        'cpu_ms': float(np.median(times[:, 1, 0])), 'wall_ms': float(np.median(times[:, 1, 1])),
        'default_cpu_ms': float(np.median(times[:, 0, 0])), 'cpu_ratio': float(ratios[0]),
        'wall_ratio': float(ratios[1]), 'gate': other.parity.passed, 'parity': str(other.parity)}
    default.engine.close()
    other.engine.close()
    return result


def quality(folder: Path, way: Way, bag: Path, every: int) -> dict[str, Any]:
    """Score a way on the bag, kept in a file."""
    path = folder / f'{way.scored_as}.json'
    if not path.is_file():
        print(f'Scoring {way.scored_as}', file=sys.stderr)
        bundle = load_bundle(folder / way.bundle)
        engine = OnnxRuntimeEngine(bundle, threads=1)
        evaluator = Evaluator(engine, bundle, Options(
            num_samples=way.num_samples, num_futures=way.num_futures, every=every,
            settle=SETTLE))
        with BagFrames(bag) as frames:
            evaluator.run(frames)
        engine.close()
        path.write_text(json.dumps(evaluator.result()), encoding='utf-8')
    result: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
    return result


def table(rows: list[dict[str, Any]]) -> str:
    """Print measured rows as Markdown."""
    headings = [f'{text}, {column.replace("_", " ")}'
                for text in METRICS.values() for column in COLUMNS]
    lines = ['| | CPU time | wall time | gate | ' + ' | '.join(headings) + ' |',
             '|---|---:|---:|---|' + '---:|' * len(headings)]
    for row in rows:
        spent, scores = row['latency'], row['quality']
        values = [f'{scores[metric][column]:.3f}' for metric in METRICS for column in COLUMNS]
        lines.append(
            f'| {row["title"]} | {spent["cpu_ratio"]:.2f} | {spent["wall_ratio"]:.2f} | '
            f'{"passes" if spent["gate"] else "fails"} | ' + ' | '.join(values) + ' |')
    return '\n'.join(lines)


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--bag', type=Path, required=True, help='a bag with ground truth')
    parser.add_argument('--output', type=Path, required=True, help='folder of bundles and scores')
    parser.add_argument('--bundle', default='street-lite0')
    parser.add_argument('--decoder', action='append', default=[], metavar='LAYERS=FILE',
                        help='file of `deltaworld train decoder`; may be given several times')
    parser.add_argument('--every', type=int, default=3)
    parser.add_argument('--repetitions', type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger('torch.onnx').setLevel(logging.ERROR)
    decoders = {layers: Path(path) for layers, _, path in
                (item.partition('=') for item in arguments.decoder)}
    arguments.output.mkdir(parents=True, exist_ok=True)
    prepare(arguments.output, arguments.bundle, decoders)
    ways = [*WAYS, *(Way(f'decoder of {layers} layers', f'decoder{layers}')
                     for layers in decoders)]
    rows = []
    for way in ways:
        scores = quality(arguments.output, way, arguments.bag, arguments.every)
        rows.append({
            **dataclasses.asdict(way), 'forecasts': scores['forecasts'],
            'latency': latency(arguments.output, way, arguments.repetitions),
            'quality': scores['leads'][LEAD]})
        (arguments.output / 'rows.json').write_text(json.dumps(rows, indent=1), encoding='utf-8')
    print(f'{rows[0]["forecasts"]} forecasts, default '
          f'{rows[0]["latency"]["cpu_ms"]:.0f} ms of CPU time\n')
    print(table(rows))


if __name__ == '__main__':
    main()
