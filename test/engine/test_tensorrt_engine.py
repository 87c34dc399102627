# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The cache of engines, and the TensorRT engine on a GPU made of host memory."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from support.host_gpu import HostCudart, HostLibrary

from deltaworld_ros.bundle import Bundle, load_bundle, write_manifest
from deltaworld_ros.engine import (
    ENGINES,
    EngineUnavailable,
    OutOfDeviceMemory,
    check_parity,
    load_engine,
)
from deltaworld_ros.engine.decode_batches import DecodeBatches
from deltaworld_ros.engine.onnxruntime_engine import OnnxRuntimeEngine
from deltaworld_ros.engine.tensorrt import cuda as cuda_module
from deltaworld_ros.engine.tensorrt.build import build_engines
from deltaworld_ros.engine.tensorrt.cuda import Cuda
from deltaworld_ros.engine.tensorrt.graph import MAX_SHAPES
from deltaworld_ros.engine.tensorrt.known_problems import KNOWN_PROBLEMS, known_problems
from deltaworld_ros.engine.tensorrt.plan_cache import engine_folder
from deltaworld_ros.engine.tensorrt.tensorrt_engine import TensorRTEngine

REQUIRED = 'pip install tensorrt-rtx-cu13-bindings tensorrt-rtx-cu13-libs (x86-64 Linux)'
trt = pytest.importorskip('tensorrt_rtx_bindings', reason=REQUIRED)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return engine_folder()


@pytest.fixture(scope='module')
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture
def cudart(monkeypatch: pytest.MonkeyPatch) -> HostCudart:
    library = HostCudart()
    monkeypatch.setattr(cuda_module, '_load', lambda: library)
    return library


def no_progress(phase: str, step: int, steps: int) -> None:
    pass


def test_engines_are_built_once(bundle: Bundle, cache: Path) -> None:
    lines: list[str] = []
    built = build_engines(trt, bundle, ['8.6'], lines.append, no_progress)
    assert len(lines) == 3 and all('not in the cache' in line for line in lines)
    assert build_engines(trt, bundle, ['8.6'], lines.append, no_progress) == built
    assert len(lines) == 3
    assert len(list(cache.glob('*.engine'))) == 3
    # Another GPU is another engine.
    build_engines(trt, bundle, ['8.9'], lines.append, no_progress)
    assert len(list(cache.glob('*.engine'))) == 6


def test_engine_passes_the_gate_and_frees_its_memory(bundle: Bundle, cudart: HostCudart) -> None:
    engine = TensorRTEngine(bundle, print, HostLibrary(trt, bundle, cudart), Cuda())
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
    assert not cudart.memory and not cudart.graphs


def test_what_is_checked_runs_later_as_cuda_graphs(bundle: Bundle, cudart: HostCudart) -> None:
    library = HostLibrary(trt, bundle, cudart)
    lines: list[str] = []
    engine = TensorRTEngine(bundle, lines.append, library, Cuda())
    check_parity(engine, bundle)
    # Every run is that of a graph: each of three was captured after one ordinary run.
    assert cudart.captured == 3
    frames = len(np.load(bundle.file('golden.npz'))['frames'])
    assert cudart.launched == frames + 2
    assert [len(each.contexts) for each in library.engines] == [1, 1, 1]
    assert [each.contexts[0].enqueued for each in library.engines] == [2, 2, 2]
    assert not any('CUDA graph' in line for line in lines)


def decode_both(engine: TensorRTEngine, reference: OnnxRuntimeEngine, bundle: Bundle,
                futures: int) -> None:
    """Decode random futures of a random frame and compare all maps."""
    m = bundle.manifest
    generator = np.random.default_rng(futures)
    frame = generator.integers(0, 256, (m.image_height, m.image_width, 3), dtype=np.uint8)
    tokens = generator.standard_normal((futures, m.steps, m.token_size), dtype=np.float32)
    weights = np.full(futures, 1 / futures, np.float32)
    names = ('labels', 'depth', 'fused_labels', 'fused_depth', 'confidence', 'future_features')
    actual, wanted = (
        each.decode(each.observe(frame, None)[0], tokens, weights, names)
        for each in (engine, reference))
    for name in names:
        np.testing.assert_array_equal(actual[name], wanted[name], name)


def test_shapes_have_graphs_of_their_own(bundle: Bundle, cudart: HostCudart) -> None:
    library = HostLibrary(trt, bundle, cudart)
    engine = TensorRTEngine(bundle, print, library, Cuda())
    reference = OnnxRuntimeEngine(bundle, threads=1)
    for futures in (6, 1, 6, 3, 1):
        decode_both(engine, reference, bundle, futures)
    decode = library.engines[2]
    # Nothing had to grow after the first, so nothing was captured twice.
    assert len(decode.contexts) == 3
    # A larger one moves the buffers, and what was captured before is of no more use.
    for futures in (7, 6):
        decode_both(engine, reference, bundle, futures)
    assert len(decode.contexts) == 5
    for futures in range(1, 13):
        decode_both(engine, reference, bundle, futures)
    assert len(cudart.graphs) <= 2 * MAX_SHAPES
    engine.close()
    assert not cudart.graphs


def test_the_log_of_a_load_tells_of_long_builds(
        bundle: Bundle, cudart: HostCudart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('deltaworld_ros.engine.tensorrt.build_progress.SECONDS_BETWEEN_LINES', 0)
    monkeypatch.setattr('deltaworld_ros.engine.tensorrt.tensorrt_engine.find_library',
                        lambda: HostLibrary(trt, bundle, cudart))
    lines: list[str] = []
    engine = load_engine(bundle, log=lines.append)
    assert engine.name.startswith('tensorrt_rtx')
    for graph in ('observe', 'rollout', 'decode'):
        assert any(line.startswith(f'still building: {graph}: ') for line in lines)
    assert 'chosen' in lines[-1]


def test_the_real_runtime_has_every_function() -> None:
    try:
        library = cuda_module._load()
    except EngineUnavailable as error:
        pytest.skip(str(error))
    called = re.findall(r'cuda[A-Z]\w+', Path(cuda_module.__file__).read_text())
    assert len(called) > 15
    assert [name for name in called if not hasattr(library, name)] == []


def test_engine_that_cannot_be_captured_says_so_once(bundle: Bundle, cudart: HostCudart) -> None:
    cudart.capturable = False
    lines: list[str] = []
    engine = TensorRTEngine(bundle, lines.append, HostLibrary(trt, bundle, cudart), Cuda())
    assert check_parity(engine, bundle).passed
    decode_both(engine, OnnxRuntimeEngine(bundle, threads=1), bundle, bundle.manifest.num_futures)
    told = [line for line in lines if 'CUDA graph' in line]
    assert [line.split()[1] for line in told] == ['observe', 'rollout', 'decode']
    assert 'operation not permitted when stream is capturing' in told[0]
    assert cudart.launched == 0


def test_error_during_a_capture_leaves_the_stream_usable(cudart: HostCudart) -> None:
    cuda = Cuda()

    def enqueue() -> None:
        cuda.synchronize()
    with pytest.raises(EngineUnavailable, match='not permitted when stream is capturing'):
        cuda.capture(enqueue)
    cuda.synchronize()
    assert cudart.remembered_error == 0
    ran: list[int] = []
    graph = cuda.capture(lambda: cudart.put(lambda: ran.append(1)))
    assert not ran
    cuda.launch(graph)
    assert ran == [1]


def test_little_memory_means_fewer_futures_at_once(bundle: Bundle, cudart: HostCudart) -> None:
    m = bundle.manifest
    reference = OnnxRuntimeEngine(bundle, threads=1)
    generator = np.random.default_rng(0)
    frame = generator.integers(0, 256, (m.image_height, m.image_width, 3), dtype=np.uint8)
    tokens = generator.standard_normal((6, m.steps, m.token_size), dtype=np.float32)
    weights = np.array([.3, .3, .2, .1, .05, .05], np.float32)
    names = ('labels', 'depth', 'fused_labels', 'fused_depth', 'confidence')
    wanted = reference.decode(reference.observe(frame, None)[0], tokens, weights, names)

    lines: list[str] = []
    inner = TensorRTEngine(bundle, lines.append, HostLibrary(trt, bundle, cudart), Cuda())
    engine = DecodeBatches(inner, m, lines.append)
    features = engine.observe(frame, None)[0]
    used = sum(len(buffer) for buffer in cudart.memory.values())
    engine.decode(features, tokens[:3], weights[:3], names)
    cudart.capacity = sum(len(buffer) for buffer in cudart.memory.values()) + 1000
    assert cudart.capacity > used
    del lines[:]
    maps = engine.decode(features, tokens, weights, names)
    assert len(lines) == 1
    assert '3 at a time from now on (cudaMalloc: out of memory' in lines[0]
    np.testing.assert_array_equal(maps['labels'], wanted['labels'])
    np.testing.assert_array_equal(maps['fused_labels'], wanted['fused_labels'])
    for name in ('depth', 'fused_depth', 'confidence'):
        np.testing.assert_allclose(maps[name], wanted[name], rtol=1e-4, atol=1e-6)
    # Too little for anything is an error, from which it recovers.
    cudart.capacity = 1000
    inner._graphs['decode'].free_memory()
    with pytest.raises(OutOfDeviceMemory, match='out of memory'):
        engine.decode(features, tokens, weights, names)
    cudart.capacity = 1 << 32
    np.testing.assert_array_equal(
        engine.decode(features, tokens, weights, ['labels'])['labels'], wanted['labels'])


@pytest.mark.parametrize(('version', 'capability', 'sources'), [
    ('10.3.0', '8.7', ['4723']), ('10.4.0', '8.6', ['4742']), ('10.7.0.23', '8.9', ['4333']),
    ('10.16.1', '12.0', ['4837']), ('10.16.1', '8.6', []), ('10.5.0', '8.6', []),
    ('11.1.0.106', '8.9', ['4853']), ('11.11.0', '8.9', []),
])
def test_known_problems_of_a_version(version: str, capability: str, sources: list[str]) -> None:
    library = ModuleType('tensorrt')
    library.__version__ = version
    lines = known_problems(library, capability)
    assert [line.partition('issues/')[2].partition(')')[0] for line in lines] == sources
    assert all(f'tensorrt {version} is reported to be wrong' in line for line in lines)
    assert all('\n' not in line and 'the parity check decides' in line for line in lines)


def test_other_versions_of_rtx_are_not_tensorrt() -> None:
    library = ModuleType('tensorrt_rtx')
    library.__version__ = '10.3.0'
    assert known_problems(library, '8.6') == []


def test_known_problems_are_told_and_do_not_decide(
        bundle: Bundle, cudart: HostCudart, monkeypatch: pytest.MonkeyPatch) -> None:
    module = 'deltaworld_ros.engine.tensorrt'
    monkeypatch.setattr(f'{module}.known_problems.is_rtx', lambda library: False)
    monkeypatch.setattr(f'{module}.known_problems.KNOWN_PROBLEMS', [
        replace(KNOWN_PROBLEMS[0], first=(1, 0), last=(99, 0))])
    lines: list[str] = []
    engine = TensorRTEngine(bundle, lines.append, HostLibrary(trt, bundle, cudart), Cuda())
    assert [line for line in lines if 'reported to be wrong' in line] == lines[:1]
    assert check_parity(engine, bundle).passed


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
    engine = TensorRTEngine(wrong, print, HostLibrary(trt, wrong, cudart), Cuda())
    assert not check_parity(engine, wrong).passed


def test_out_of_memory_is_one_reason(cudart: HostCudart) -> None:
    with pytest.raises(OutOfDeviceMemory, match=r'cudaMalloc: out of memory \(CUDA error 2\)'):
        Cuda().allocate(1 << 40)


def test_no_gpu_is_one_reason(cudart: HostCudart) -> None:
    cudart.devices = 0
    with pytest.raises(EngineUnavailable, match='no CUDA GPU'):
        Cuda()


def test_missing_library_is_one_reason(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('tensorrt', 'tensorrt_rtx', 'tensorrt_rtx_bindings'):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EngineUnavailable, match='tensorrt'):
        ENGINES['tensorrt'](bundle, 0, print)


def test_missing_cuda_is_one_reason(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('ctypes.util.find_library', lambda name: None)
    monkeypatch.setattr('ctypes.CDLL', _no_library)
    with pytest.raises(EngineUnavailable, match='no CUDA runtime'):
        ENGINES['tensorrt'](bundle, 0, print)


def _no_library(name: Any) -> Any:
    raise OSError(f'{name}: not found')
