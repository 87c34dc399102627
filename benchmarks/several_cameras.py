# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure what each further camera costs, by three ways of running the graphs of several.

A frame of a camera is the three graphs of a bundle for its fused maps. The cameras' frames go
through them *at once* (a thread a camera, as the node does on the CPU), *in turns* (as it does on
other engines), or as *one batch*. All ways follow one another in every round, so that other work
on the machine slows all of them. A further camera's cost is the share of one camera's time that
it adds.

    python benchmarks/several_cameras.py --threads 2
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.bundle.lead_outputs import FUSED_MAPS
from deltaworld_ros.bundle.manifest import GRAPHS
from deltaworld_ros.bundle.time_tables import time_tables
from deltaworld_ros.engine import Engine, load_engine
from deltaworld_ros.engine.shared_engine import SharedEngine

Step = Callable[[], Any]


class Inputs:
    """What the graphs are given for one camera."""

    def __init__(self, bundle: Bundle) -> None:
        m = bundle.manifest
        rng = np.random.default_rng(0)

        def normal(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape, np.float32)

        with np.load(bundle.file('golden.npz'), allow_pickle=False) as golden:
            self.image = golden['frames'][0]
        times = [*(-m.stride * n for n in range(m.context_length - 1, -1, -1)), *m.leads]
        self.tables = time_tables(np.array(times), m.rotary_frequencies)
        self.features = normal(m.num_patches, m.feature_size)
        self.tokens = normal(m.context_length, m.token_size)
        self.noise = normal(m.num_samples, m.steps, m.noise_size) * np.float32(m.noise_std)
        self.futures = normal(m.num_futures, m.steps, m.token_size)
        self.weights = np.full(m.num_futures, 1 / m.num_futures, np.float32)


def frame(engine: Engine, given: Inputs) -> Step:
    """Return a frame of one camera through an engine."""
    previous = engine.features_from_host(given.features)

    def run() -> None:
        features, _, _ = engine.observe(given.image, previous)
        engine.rollout(given.tokens, *given.tables, given.noise)
        engine.decode(features, given.futures, given.weights, FUSED_MAPS)

    return run


def batch(bundle: Bundle, given: Inputs, cameras: int, threads: int) -> Step:
    """Return a frame of each camera as one batch through the graphs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    observe, rollout, decode = (onnxruntime.InferenceSession(
        bundle.read(f'{name}.onnx'), options, providers=['CPUExecutionProvider'])
        for name in GRAPHS)

    def stacked(**arrays: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.stack([array] * cameras) for name, array in arrays.items()}

    image = stacked(image=given.image, previous_features=given.features)
    context = stacked(tokens=given.tokens, noise=given.noise, rotary_cos=given.tables[0],
                      rotary_sin=given.tables[1])
    futures = stacked(tokens=given.futures, weights=given.weights)

    def run() -> None:
        features, *_ = observe.run(['features', 'delta_token', 'anchor_token'], image)
        rollout.run(['future_tokens'], context)
        decode.run(list(FUSED_MAPS), {'features': features, **futures})

    return run


def together(pool: ThreadPoolExecutor, steps: list[Step]) -> Step:
    """Return steps that each run in a thread of their own."""
    def run() -> None:
        for future in [pool.submit(step) for step in steps]:
            future.result()

    return run


def main() -> None:
    """Run all ways in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--bundle', default='street-lite0')
    parser.add_argument('--threads', type=int, default=2, help='CPU threads of a graph')
    parser.add_argument('--cameras', type=int, default=3)
    parser.add_argument('--rounds', type=int, default=20)
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle)
    given = Inputs(bundle)
    engine = load_engine(bundle, 'onnxruntime-cpu', arguments.threads)
    shared = SharedEngine(engine)
    with ThreadPoolExecutor(arguments.cameras) as pool:
        ways: dict[tuple[str, int], Step] = {('one camera', 1): frame(engine, given)}
        for number in range(2, arguments.cameras + 1):
            ways['at once', number] = together(pool, [frame(engine, given)] * number)
            ways['in turns', number] = together(pool, [frame(shared, given)] * number)
            ways['one batch', number] = batch(bundle, given, number, arguments.threads)
        spent: dict[tuple[str, int], list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(arguments.rounds + 1):
            for way, run in ways.items():
                started = time.perf_counter(), time.process_time()
                run()
                spent[way].append((time.perf_counter() - started[0],
                                   time.process_time() - started[1]))
    first = np.array(spent['one camera', 1][1:])   # the first round warms up
    print('| way | cameras | wall (ms) | CPU (ms) | a further camera, wall | CPU |\n'
          '|---|---:|---:|---:|---:|---:|')
    for (name, number), values in spent.items():
        times = np.array(values[1:])
        wall, cpu = 1e3 * np.median(times, axis=0)
        further = np.median((times / first - 1), axis=0) / max(1, number - 1)
        shares = ' | '.join(f'{share:.2f}' if number > 1 else '' for share in further)
        print(f'| {name} | {number} | {wall:.0f} | {cpu:.0f} | {shares} |')


if __name__ == '__main__':
    main()
