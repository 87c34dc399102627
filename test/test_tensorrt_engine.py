# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The cache of engines, and the TensorRT engine on a GPU made of host memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from support.host_gpu import HostCudart, HostLibrary

from deltaworld_ros.bundle import Bundle, load_bundle, write_manifest
from deltaworld_ros.engine import ENGINES, EngineUnavailable, check_parity
from deltaworld_ros.engine.tensorrt import cuda as cuda_module
from deltaworld_ros.engine.tensorrt.build import build_engines
from deltaworld_ros.engine.tensorrt.cuda import Cuda
from deltaworld_ros.engine.tensorrt.plan_cache import (
    cache_folder,
    cached_plan,
    plan_key,
    write_atomically,
)
from deltaworld_ros.engine.tensorrt.tensorrt_engine import TensorRTEngine

REQUIRED = 'pip install tensorrt-rtx-cu13-bindings tensorrt-rtx-cu13-libs (x86-64 Linux)'
trt = pytest.importorskip('tensorrt_rtx_bindings', reason=REQUIRED)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return cache_folder()


@pytest.fixture(scope='module')
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture
def cudart(monkeypatch: pytest.MonkeyPatch) -> HostCudart:
    library = HostCudart()
    monkeypatch.setattr(cuda_module, '_load', lambda: library)
    return library


def test_engines_are_built_once(bundle: Bundle, cache: Path) -> None:
    lines: list[str] = []
    built = build_engines(trt, bundle, ['8.6'], lines.append)
    assert len(lines) == 3 and all('not in the cache' in line for line in lines)
    assert build_engines(trt, bundle, ['8.6'], lines.append) == built
    assert len(lines) == 3
    assert len(list(cache.iterdir())) == 3
    # Another GPU is another engine.
    build_engines(trt, bundle, ['8.9'], lines.append)
    assert len(list(cache.iterdir())) == 6


def test_damaged_engine_is_built_anew_with_one_line(tmp_path: Path) -> None:
    path = tmp_path / 'a.engine'
    lines: list[str] = []
    assert cached_plan(path, lambda: b'plan', lines.append) == b'plan'
    data = path.read_bytes()
    for damage in (b'', data[:10], data[:-1], data[:-1] + b'x'):
        lines.clear()
        path.write_bytes(damage)
        assert cached_plan(path, lambda: b'plan', lines.append) == b'plan'
        assert len(lines) == 1 and 'damaged' in lines[0]
        assert path.read_bytes() == data


def test_key_is_of_every_part() -> None:
    parts = {'graph': 'a', 'library': 'tensorrt 10.3', 'capabilities': ['8.6'], 'shapes': '1'}
    keys = {plan_key(parts)} | {plan_key({**parts, name: 'other'}) for name in parts}
    assert len(keys) == 1 + len(parts)


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'a.engine'
    write_atomically(path, b'first')

    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt
    monkeypatch.setattr('os.fsync', interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b'second')
    assert path.read_bytes() == b'first'
    assert list(tmp_path.iterdir()) == [path]


def test_cache_that_cannot_be_written_costs_a_build(tmp_path: Path) -> None:
    (tmp_path / 'file').write_bytes(b'')
    lines: list[str] = []
    path = tmp_path / 'file' / 'a.engine'
    assert cached_plan(path, lambda: b'plan', lines.append) == b'plan'
    assert 'cannot be written' in lines[-1]


def test_engine_passes_the_gate_and_frees_its_memory(bundle: Bundle, cudart: HostCudart) -> None:
    engine = TensorRTEngine(bundle, HostLibrary(trt, bundle), Cuda())
    assert 'compute capability 8.6' in engine.name
    report = check_parity(engine, bundle)
    assert report.passed, report
    m = bundle.manifest
    frames = np.random.default_rng(0).integers(
        0, 256, (2, m.image_height, m.image_width, 3), dtype=np.uint8)
    first, _, anchor = engine.observe(frames[0], None)
    host = engine.features_to_host(first)
    second, _, _ = engine.observe(frames[1], first)
    np.testing.assert_array_equal(engine.features_to_host(first), host)
    np.testing.assert_array_equal(
        engine.features_to_host(engine.features_from_host(host)), host)
    for futures in (1, 4):
        tokens = np.zeros((futures, m.steps, m.token_size), np.float32)
        maps = engine.decode(second, tokens, np.full(futures, 1 / futures, np.float32), ['labels'])
        assert maps['labels'].shape == (futures, m.steps, m.map_height, m.map_width)
    with pytest.raises(ValueError, match='built for other shapes'):
        engine.decode(second, tokens[:, :, :-1], np.full(4, 0.25, np.float32), ['labels'])
    engine.close()
    del first, second
    assert not cudart.memory


def test_engine_with_a_scaled_weight_is_refused(
        tiny_bundle: Path, bundle: Bundle, tmp_path: Path, cudart: HostCudart) -> None:
    import shutil

    folder = shutil.copytree(tiny_bundle, tmp_path / 'wrong')
    model = onnx.load(folder / 'decode.onnx')
    [tensor] = [item for item in model.graph.initializer if item.name == 'classifier_half']
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array((values * 1.5).astype(values.dtype), tensor.name))
    onnx.save(model, folder / 'decode.onnx')
    write_manifest(folder, bundle.manifest)
    wrong = load_bundle(folder)
    report = check_parity(TensorRTEngine(wrong, HostLibrary(trt, wrong), Cuda()), wrong)
    assert not report.passed


def test_out_of_memory_is_one_reason(cudart: HostCudart) -> None:
    with pytest.raises(EngineUnavailable, match=r'cudaMalloc: out of memory \(CUDA error 2\)'):
        Cuda().allocate(1 << 40)


def test_no_gpu_is_one_reason(cudart: HostCudart) -> None:
    cudart.devices = 0
    with pytest.raises(EngineUnavailable, match='no CUDA GPU'):
        Cuda()


def test_missing_library_is_one_reason(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('tensorrt', 'tensorrt_rtx', 'tensorrt_rtx_bindings'):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EngineUnavailable, match='tensorrt'):
        ENGINES['tensorrt'](bundle, 0)


def test_missing_cuda_is_one_reason(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('ctypes.util.find_library', lambda name: None)
    monkeypatch.setattr('ctypes.CDLL', _no_library)
    with pytest.raises(EngineUnavailable, match='no CUDA runtime'):
        ENGINES['tensorrt'](bundle, 0)


def _no_library(name: Any) -> Any:
    raise OSError(f'{name}: not found')
