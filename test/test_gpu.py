# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
On an NVIDIA GPU engines keep features on the device and pass the golden check.

What TensorRT does here, `test_tensorrt_engine.py` does on a GPU made of host memory.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.engine import (
    Engine,
    EngineUnavailable,
    OutOfDeviceMemory,
    check_parity,
    load_engine,
)
from deltaworld_ros.engine.tensorrt.buffers import DeviceArray
from deltaworld_ros.engine.tensorrt.cuda import Cuda
from deltaworld_ros.engine.tensorrt.library import find_library
from deltaworld_ros.engine.tensorrt.tensorrt_engine import TensorRTEngine

MIB = 1 << 20
SHIPPED = sorted((Path(__file__).resolve().parents[1] / 'deltaworld_ros/bundles').glob('*/'))


def has_tensorrt() -> bool:
    try:
        find_library()
        Cuda().close()
    except EngineUnavailable:
        return False
    return True


pytestmark = pytest.mark.gpu
needs_onnxruntime = pytest.mark.skipif(
    'CUDAExecutionProvider' not in onnxruntime.get_available_providers(),
    reason='needs an NVIDIA GPU and onnxruntime-gpu (make gpu-test)')
needs_tensorrt = pytest.mark.skipif(
    not has_tensorrt(), reason='needs an NVIDIA GPU and TensorRT (docs/tensorrt.md)')
each_bundle = pytest.mark.parametrize(
    'bundle', [None, *SHIPPED], ids=['tiny', *(b.name for b in SHIPPED)])


@needs_onnxruntime
@each_bundle
def test_cuda_reproduces_the_golden_outputs(bundle: Path | None, tiny_bundle: Path) -> None:
    loaded = load_bundle(bundle or tiny_bundle)
    engine = load_engine(loaded, 'onnxruntime-cuda')
    assert 'CUDA' in engine.name
    assert check_parity(engine, loaded).passed
    engine.close()


@needs_tensorrt
@each_bundle
def test_tensorrt_reproduces_the_golden_outputs(bundle: Path | None, tiny_bundle: Path) -> None:
    loaded = load_bundle(bundle or tiny_bundle)
    lines: list[str] = []
    engine = load_engine(loaded, 'tensorrt', log=lines.append)
    assert 'tensorrt' in engine.name
    assert check_parity(engine, loaded).passed
    assert not any('without a CUDA graph' in line for line in lines), lines
    engine.close()


def outputs(engine: Engine, bundle: Bundle) -> list[np.ndarray]:
    """Give all outputs of two frames and of decoding 6, 1, 6 and 9 futures."""
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
