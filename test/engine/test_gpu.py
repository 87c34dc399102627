# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
On an NVIDIA GPU every engine there is passes the golden check, in half precision too.

The twins on the CPU are in test_engine.py, test_export_precision.py and, on a GPU made of host
memory, test_tensorrt_engine.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.vit_bundle import vit_bundle

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.engine import (
    ENGINES,
    Engine,
    EngineUnavailable,
    OutOfDeviceMemory,
    check_parity,
)
from deltaworld_ros.engine.select import start_engine
from deltaworld_ros.engine.tensorrt.buffers import DeviceArray
from deltaworld_ros.engine.tensorrt.cuda import Cuda
from deltaworld_ros.engine.tensorrt.library import find_library
from deltaworld_ros.engine.tensorrt.tensorrt_engine import TensorRTEngine
from deltaworld_ros.forecast.forecaster import Forecaster

MIB = 1 << 20


def has_tensorrt() -> bool:
    try:
        find_library()
        Cuda().close()
    except EngineUnavailable:
        return False
    return True


# Engines are built here for the first time, and the networks of ViT-B's width exported.
pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]
needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason='needs an NVIDIA GPU and a CUDA build of torch (make gpu-test)')
needs_tensorrt = pytest.mark.skipif(
    not has_tensorrt(), reason='needs an NVIDIA GPU and TensorRT (docs/tensorrt.md)')
each_engine = pytest.mark.parametrize(
    'engine', [name for name in ENGINES if name != 'onnxruntime-cpu'])


def bundle_of(name: str, tiny_bundle: Path) -> Bundle:
    if name.startswith('vit '):
        return vit_bundle(name[4:])  # type: ignore[arg-type]
    return load_bundle(tiny_bundle if name == 'tiny' else name)


def engine_of(name: str, bundle: Bundle, log: Callable[[str], None] = print) -> Engine:
    try:
        engine = start_engine(name, bundle, 0, log)
    except EngineUnavailable as error:
        pytest.skip(str(error))
    assert 'cpu' not in engine.name.lower()
    return engine


@needs_gpu
@each_engine
@pytest.mark.parametrize('bundle', ['tiny', 'street-lite0', 'vit fp32', 'vit fp16', 'vit bf16'])
def test_engine_reproduces_the_golden_outputs(
        engine: str, bundle: str, tiny_bundle: Path) -> None:
    if (engine, bundle) == ('onnxruntime-cuda', 'vit bf16'):
        pytest.skip('ONNX Runtime lacks some bfloat16 operators')
    loaded = bundle_of(bundle, tiny_bundle)
    lines: list[str] = []
    running = engine_of(engine, loaded, lines.append)
    report = check_parity(running, loaded)
    running.close()
    assert report.passed, report
    assert not any('without a CUDA graph' in line for line in lines), lines


@needs_gpu
@each_engine
def test_forecasts_go_on_from_features_on_the_device(engine: str) -> None:
    loaded = load_bundle('street-lite0')
    running = engine_of(engine, loaded)
    forecaster = Forecaster(running, loaded.manifest)
    frames = torch.randint(0, 256, (6, 192, 320, 3), dtype=torch.uint8).numpy()
    for index, frame in enumerate(frames):
        forecaster.observe(frame, 0.2 * index)
    forecast = forecaster.forecast()
    running.close()
    assert forecast.labels is not None and forecast.labels.shape[:2] == (6, 3)
    assert abs(float(forecast.weights.sum()) - 1.0) < 1e-4


def outputs(engine: Engine, bundle: Bundle) -> list[np.ndarray]:
    """Return all outputs of two frames and of decoding 6, 1, 6 and 9 futures."""
    m = bundle.manifest
    generator = np.random.default_rng(0)
    result: list[np.ndarray] = []
    features: Any = None
    for _ in range(2):
        frame = generator.integers(0, 256, (m.image_height, m.image_width, 3), dtype=np.uint8)
        features, *tokens = engine.observe(frame, features)
        result += [engine.features_to_host(features), *tokens]
    for futures in (6, 1, 6, 9):
        maps = engine.decode(
            features, generator.standard_normal(
                (futures, m.steps, m.token_size)).astype(np.float32),
            np.full(futures, 1 / futures, np.float32),
            ['depth', 'fused_depth', 'future_features'])
        result += maps.values()
    return result


@needs_tensorrt
def test_cuda_graphs_agree_with_ordinary_runs(
        tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_bundle(tiny_bundle)
    engine = TensorRTEngine(loaded, print)
    captured = outputs(engine, loaded)
    engine.close()

    def refuse(cuda: Cuda, enqueue: Callable[[], None]) -> int:
        raise EngineUnavailable('not in this test')
    monkeypatch.setattr(Cuda, 'capture', refuse)
    lines: list[str] = []
    engine = TensorRTEngine(loaded, lines.append)
    for actual, wanted in zip(captured, outputs(engine, loaded), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-4)
    assert sum('without a CUDA graph' in line for line in lines) == 2
    engine.close()


@needs_tensorrt
def test_a_full_device_is_an_error_that_passes(tiny_bundle: Path) -> None:
    loaded = load_bundle(tiny_bundle)
    cuda = Cuda()
    engine = TensorRTEngine(loaded, print, cuda=cuda)
    wanted = outputs(engine, loaded)
    for graph in engine._graphs.values():
        graph.free_memory()
    held = []
    size = 1024 * MIB
    while size >= MIB // 4:
        try:
            held.append(DeviceArray(cuda, (size,), np.dtype(np.uint8)))
        except OutOfDeviceMemory:
            size //= 2
    m = loaded.manifest
    with pytest.raises(OutOfDeviceMemory):
        for _ in range(1000):   # small allocations may still find room
            held.append(engine.observe(
                np.zeros((m.image_height, m.image_width, 3), np.uint8), None)[0])
    held.clear()
    for actual, again in zip(outputs(engine, loaded), wanted, strict=True):
        np.testing.assert_allclose(actual, again, rtol=1e-4, atol=1e-4)
    engine.close()
