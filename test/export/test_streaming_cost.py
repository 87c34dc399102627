# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The streaming runtime gives what encoding the whole window anew gives, at the cost of one frame.

What ONNX Runtime executes is read from its own profiles: the names, shapes and counts of nodes.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from support.vit_bundle import export_vit_bundle, vit_networks

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.bundle.manifest import GRAPHS
from deltaworld_ros.engine.onnxruntime_engine import OnnxRuntimeEngine
from deltaworld_ros.export.graph_networks import graph_networks
from deltaworld_ros.forecast.forecaster import Forecaster
from deltaworld_ros.forecast.frame_gate import Restart
from deltaworld_ros.model.networks import Networks

FRAMES = 7
SAMPLES = 2
Pair = tuple[Bundle, Networks]


@pytest.fixture(scope='module')
def benchmark_module() -> ModuleType:
    """Import the benchmark, which is no part of the package."""
    path = Path(__file__).resolve().parents[2] / 'benchmarks' / 'runtime_against_reencoding.py'
    spec = importlib.util.spec_from_file_location('runtime_against_reencoding', path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def compact() -> Pair:
    """Return the shipped bundle and its networks."""
    bundle = load_bundle('street-lite0')
    return bundle, graph_networks(bundle)


@pytest.fixture(scope='module')
def grid(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Return a small bundle of the paper's networks."""
    networks = copy.deepcopy(vit_networks(layers=1, size=128, heads=2))
    with torch.no_grad():
        for name, parameter in networks.tokenizer.named_parameters():
            if 'lambda1' in name:
                # Else what is decoded has one class, whatever was seen.
                parameter *= 0.02
    return export_vit_bundle(tmp_path_factory.mktemp('grid'), networks), networks


@pytest.fixture(params=['compact', 'grid'])
def pair(request: pytest.FixtureRequest) -> Pair:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize('samples', [1, SAMPLES])
def test_streaming_gives_the_maps_of_reencoding(
        pair: Pair, samples: int, benchmark_module: ModuleType):
    bundle, networks = pair
    manifest, stream = bundle.manifest, benchmark_module.Stream(bundle)
    runtime = Forecaster(
        OnnxRuntimeEngine(bundle, threads=1), manifest, num_samples=samples, num_futures=samples)
    other = benchmark_module.ReencodingForecaster(networks, manifest, samples)
    compared = 0
    for number in range(FRAMES):
        runtime.observe(*stream.frame(number))
        if runtime.ready:
            found = benchmark_module.compare_maps(
                runtime.forecast(), other.forecast(*stream.window(number, 4)))
            assert found['equal_labels'] >= 0.99
            assert found['depth_error'] <= 0.01
            compared += 1
    assert compared == FRAMES - manifest.context_length + 1


def test_the_comparison_sees_another_window(pair: Pair, benchmark_module: ModuleType):
    bundle, networks = pair
    stream = benchmark_module.Stream(bundle)
    runtime = Forecaster(OnnxRuntimeEngine(bundle, threads=1), bundle.manifest,
                         num_samples=1, num_futures=1)
    for number in range(4):
        runtime.observe(*stream.frame(number))
    other = benchmark_module.ReencodingForecaster(networks, bundle.manifest, 1)
    found = benchmark_module.compare_maps(
        runtime.forecast(), other.forecast(*stream.window(4, 4)))
    assert found['equal_labels'] < 0.99


class Profiled:
    """ONNX Runtime sessions that profile what they execute."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.sessions: dict[str, Any] = {}
        session_type = onnxruntime.InferenceSession

        def open_session(model: bytes, options: Any, **arguments: Any) -> Any:
            # The engine opens the graphs in the order of GRAPHS, from their bytes.
            name = GRAPHS[len(self.sessions)]
            options.enable_profiling = True
            options.profile_file_prefix = str(folder / name)
            session = session_type(model, options, **arguments)
            self.sessions[name] = session
            return session

        monkeypatch.setattr(onnxruntime, 'InferenceSession', open_session)

    def executed(self) -> tuple[Counter[str], dict[str, list[tuple[str, list[list[int]]]]]]:
        """Return the runs of each graph, and each graph's executed nodes with input shapes."""
        runs: Counter[str] = Counter()
        nodes: dict[str, list[tuple[str, list[list[int]]]]] = {}
        for name, session in self.sessions.items():
            events = json.loads(Path(session.end_profiling()).read_text(encoding='utf-8'))
            runs[name] = sum(event['name'] == 'model_run' for event in events)
            nodes[name] = [
                (event['args']['op_name'],
                 [shape for given in event['args']['input_type_shape']
                  for shape in given.values()])
                for event in events if event['name'].endswith('_kernel_time')]
        return runs, nodes


def first_dimension(
        nodes: list[tuple[str, list[list[int]]]], operators: str, place: int,
        tail: tuple[int, ...]) -> list[int]:
    """Return the batch of each executed node of these operators whose input ends so."""
    return [shapes[place][0] for operator, shapes in nodes
            if operators in operator and len(shapes) > place
            and tuple(shapes[place][-len(tail):]) == tail]


@pytest.mark.parametrize('rate', [1, 3])
def test_a_frame_costs_one_backbone_and_one_encoder_pass(
        pair: Pair, rate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bundle, networks = pair
    m = bundle.manifest
    profiled = Profiled(monkeypatch, tmp_path)
    forecaster = Forecaster(OnnxRuntimeEngine(bundle, threads=1), m, num_samples=SAMPLES,
                            num_futures=SAMPLES)
    forecasts = stream(forecaster, bundle, rate)
    assert forecasts >= (FRAMES - m.context_length + 1) * rate
    runs, nodes = profiled.executed()
    assert runs == {'observe': FRAMES * rate, 'rollout': forecasts, 'decode': forecasts}
    assert backbone_frames(nodes['observe'], bundle) == [1] * FRAMES * rate
    pairs = encoder_pairs(nodes['observe'], networks)
    assert pairs == [encoder_batch(networks)] * FRAMES * rate
    # The other graphs hold neither backbone nor encoder.
    for name in ('rollout', 'decode'):
        assert not backbone_frames(nodes[name], bundle)
        assert not encoder_pairs(nodes[name], networks)


def test_the_counter_sees_reencoding(
        pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bundle, networks = pair
    m = bundle.manifest
    profiled = Profiled(monkeypatch, tmp_path)
    forecaster = Forecaster(OnnxRuntimeEngine(bundle, threads=1), m, num_samples=SAMPLES,
                            num_futures=SAMPLES)
    for newest in range(m.context_length - 1, FRAMES):
        forecaster.reset(Restart.REQUESTED)
        for number in range(newest - m.context_length + 1, newest + 1):
            forecaster.observe(golden_frame(bundle, number), number * m.stride)
        forecaster.forecast()
    runs, nodes = profiled.executed()
    windows = FRAMES - m.context_length + 1
    assert runs['observe'] == windows * m.context_length
    assert len(backbone_frames(nodes['observe'], bundle)) == windows * m.context_length
    assert len(encoder_pairs(nodes['observe'], networks)) == windows * m.context_length


def golden_frame(bundle: Bundle, number: int) -> np.ndarray:
    with np.load(bundle.file('golden.npz')) as golden:
        frames = golden['frames']
    return frames[number % len(frames)]


def stream(forecaster: Forecaster, bundle: Bundle, rate: int) -> int:
    """Feed frames at `rate` a stride and forecast from each that has a context; count those."""
    forecasts = 0
    for number in range(FRAMES * rate):
        forecaster.observe(golden_frame(bundle, number), number * bundle.manifest.stride / rate)
        if forecaster.ready:
            forecaster.forecast()
            forecasts += 1
    return forecasts


def backbone_frames(
        nodes: list[tuple[str, list[list[int]]]], bundle: Bundle) -> list[int]:
    """Return the frames in each execution of the backbone's stem: its convolution of the image."""
    m = bundle.manifest
    # The stem of EfficientNet may be padded by a node of its own.
    return [shapes[0][0] for operator, shapes in nodes
            if 'Conv' in operator and shapes[0][1] == 3 and shapes[0][2] >= m.image_height]


def encoder_pairs(
        nodes: list[tuple[str, list[list[int]]]], networks: Networks) -> list[int]:
    """Return the pairs in each execution of the encoder's first block."""
    tokenizer = networks.sizes['tokenizer']
    rows, columns = tokenizer['grid']
    if tokenizer['kind'] == 'delta':
        # Only the encoder attends over both frames' patches and one token.
        length = 2 * rows * columns + 1
        found = first_dimension(nodes, 'Softmax', 0, (length, length))
        return found[::tokenizer['layers']]
    joined = 2 * 4 * tokenizer['feature_size']
    return first_dimension(nodes, 'MatMul', 0, (rows * columns // 4, joined)) \
        or first_dimension(nodes, 'Gemm', 0, (joined,))


def encoder_batch(networks: Networks) -> int:
    """Return the pairs a frame: the compact tokenizer's anchor token is no pair."""
    return 1 if networks.sizes['tokenizer']['kind'] == 'compact' else 2
