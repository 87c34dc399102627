# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The ONNX Runtime engine, the parity gate and the choice of engines, on a tiny real bundle."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from support.tiny_bundle import fading_frames

from deltaworld_ros.bundle import Bundle, load_bundle, write_manifest
from deltaworld_ros.engine import (
    ENGINES,
    Engine,
    EngineUnavailable,
    check_parity,
    load_engine,
)
from deltaworld_ros.engine.onnxruntime_engine import CUDA, OnnxRuntimeEngine
from deltaworld_ros.errors import UserError


@pytest.fixture(scope='module')
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture(scope='module', params=['onnxruntime-cpu', 'torch'])
def engine(bundle: Bundle, request: pytest.FixtureRequest) -> Engine:
    """Return each engine of this machine: all must keep the same promises."""
    if request.param == 'torch':
        pytest.importorskip('torch')
    return ENGINES[request.param](bundle, 1, print)


def scale_weight(source: Path, target: Path, graph: str, weight: str, factor: float) -> Bundle:
    """Copy a bundle with one weight of one graph scaled and a manifest that knows the new sum."""
    shutil.copytree(source, target)
    model = onnx.load(target / f'{graph}.onnx')
    [tensor] = [item for item in model.graph.initializer if item.name == weight]
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array((values * factor).astype(values.dtype), weight))
    onnx.save(model, target / f'{graph}.onnx')
    write_manifest(target, load_bundle(source).manifest)
    return load_bundle(target)


def test_observe_chains_features(engine: Engine, bundle: Bundle) -> None:
    m = bundle.manifest
    frames = fading_frames(m, 2)
    first, delta, anchor = engine.observe(frames[0], None)
    host = engine.features_to_host(first)
    assert host.shape == (m.num_patches, m.feature_size) and host.dtype == np.float32
    assert delta.shape == anchor.shape == (m.token_size,)
    # A patch's first features are its mean colour, in the order of rows.
    patch = frames[0][16:32, 0:16].reshape(-1, 3).mean(0) / 255
    np.testing.assert_allclose(host[m.feature_columns, :3], patch, atol=1e-3)
    second, delta, _ = engine.observe(frames[1], first)
    change = engine.features_to_host(second) - host
    np.testing.assert_allclose(delta[:m.feature_size], change.mean(0), atol=1e-3)


def test_observe_takes_views(engine: Engine, bundle: Bundle) -> None:
    frame = fading_frames(bundle.manifest, 1)[0]
    bgr = np.ascontiguousarray(frame[..., ::-1])
    _, _, anchor = engine.observe(frame, None)
    _, _, from_view = engine.observe(bgr[..., ::-1], None)
    np.testing.assert_array_equal(anchor, from_view)


@pytest.mark.parametrize('futures', [1, 4, 7])
def test_decode_gives_only_what_was_asked(engine: Engine, bundle: Bundle, futures: int) -> None:
    m = bundle.manifest
    features, _, _ = engine.observe(fading_frames(m, 1)[0], None)
    tokens = np.zeros((futures, m.steps, m.token_size), np.float32)
    weights = np.full(futures, 1 / futures, np.float32)
    some = engine.decode(features, tokens, weights, ['fused_depth', 'labels'])
    assert set(some) == {'fused_depth', 'labels'}
    assert some['labels'].shape == (futures, m.steps, m.map_height, m.map_width)
    assert some['labels'].dtype == np.uint8
    assert some['fused_depth'].shape == (m.steps + 1, m.map_height, m.map_width)
    # Zero tokens change nothing: every future equals the present.
    present = engine.decode(features, tokens, weights, ['fused_labels'])['fused_labels'][0]
    assert (some['labels'] == present).all()
    assert len(np.unique(present)) > 1


def test_features_survive_the_host(engine: Engine, bundle: Bundle) -> None:
    m = bundle.manifest
    array = np.random.default_rng(0).random((m.num_patches, m.feature_size), np.float32)
    features = engine.features_from_host(array)
    kept = array.copy()
    array[:] = 0
    np.testing.assert_array_equal(engine.features_to_host(features), kept)


def test_results_outlive_later_runs(engine: Engine, bundle: Bundle) -> None:
    frames = fading_frames(bundle.manifest, 4)
    observed = [engine.observe(frame, None) for frame in frames]
    again = [engine.observe(frame, None) for frame in frames]
    for (features, _, anchor), (features2, _, anchor2) in zip(observed, again, strict=True):
        np.testing.assert_array_equal(anchor, anchor2)
        np.testing.assert_array_equal(
            engine.features_to_host(features), engine.features_to_host(features2))


def test_half_weights_are_cast_at_load(tiny_bundle: Path, tmp_path: Path) -> None:
    import onnxruntime

    stored = onnx.load(tiny_bundle / 'decode.onnx')
    halves = {item.name for item in stored.graph.initializer
              if item.data_type == onnx.TensorProto.FLOAT16}
    assert halves
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / 'optimized.onnx')
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(tiny_bundle / 'decode.onnx'), options,
                                 providers=['CPUExecutionProvider'])
    optimized = onnx.load(tmp_path / 'optimized.onnx')
    cast = [node for node in optimized.graph.node
            if node.op_type == 'Cast' and node.input[0] in halves]
    assert not cast


def test_parity_of_a_right_engine(engine: Engine, bundle: Bundle) -> None:
    report = check_parity(engine, bundle)
    assert report.passed, str(report)
    assert report.figures['features cosine'] > 0.9999
    assert report.figures['equal labels'] > 0.999
    assert 'cosine' in str(report)


@pytest.mark.parametrize('graph, weight, says', [
    ('observe', 'mixture_half', 'features'),
    ('observe', 'delta_encoder_half', 'delta token norm error'),
    ('observe', 'anchor_encoder_half', 'anchor token norm error'),
    ('rollout', 'noise_projection_half', 'future token'),
    ('decode', 'spread_half', 'depth error'),
    ('decode', 'classifier_half', 'depth error'),
])
def test_scaled_weight_is_refused(
        tiny_bundle: Path, tmp_path: Path, graph: str, weight: str, says: str) -> None:
    wrong = scale_weight(tiny_bundle, tmp_path / 'wrong', graph, weight, 1.5)
    report = check_parity(OnnxRuntimeEngine(wrong, threads=1), wrong)
    assert not report.passed
    assert says in str(report)


class NanEngine(OnnxRuntimeEngine):
    """A wrong engine: its tokens are not numbers."""

    def rollout(self, *arguments: np.ndarray) -> np.ndarray:
        return super().rollout(*arguments) * np.float32('nan')


class ScaledEngine(OnnxRuntimeEngine):
    """A wrong engine: as if the last weight of the encoder were doubled."""

    closed = 0

    def observe(self, image: np.ndarray, previous: object) -> tuple:
        features, delta, anchor = super().observe(image, previous)
        return features, 2 * delta, anchor

    def close(self) -> None:
        ScaledEngine.closed += 1
        super().close()


class HalfWrongEngine(OnnxRuntimeEngine):
    """A wrong engine: a part of each map is twice as far away."""

    share = 0.4

    def decode(self, *arguments: object) -> dict[str, np.ndarray]:
        maps = super().decode(*arguments)
        for name in ('depth', 'fused_depth'):
            if name in maps:
                depth = maps[name] = maps[name].copy()
                depth[..., :round(self.share * depth.shape[-1])] *= 2
        return maps


def test_what_a_median_hides_is_refused(bundle: Bundle) -> None:
    report = check_parity(HalfWrongEngine(bundle, threads=1), bundle)
    assert report.figures['depth error'] < 0.01
    assert 'near depth is 0.5938, must be at least 0.99' in str(report)


class WatchedEngine(OnnxRuntimeEngine):
    """Counts samples and futures of every call."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, threads=1)
        self.seen: set[tuple[str, int]] = set()

    def rollout(self, *arguments: np.ndarray) -> np.ndarray:
        self.seen.add(('rollout', len(arguments[3])))
        return super().rollout(*arguments)

    def decode(self, features: object, tokens: np.ndarray, *arguments: object) -> dict:
        self.seen.add(('decode', len(tokens)))
        return super().decode(features, tokens, *arguments)


@pytest.mark.parametrize('samples, futures', [(1, 1), (5, 2), (8, 3), (32, 4), (20, 7)])
def test_the_sizes_that_will_run_are_judged(bundle: Bundle, samples: int, futures: int) -> None:
    engine = WatchedEngine(bundle)
    report = check_parity(engine, bundle, num_samples=samples, num_futures=futures)
    assert report.passed, str(report)
    assert engine.seen == {('rollout', samples), ('decode', futures), ('decode', 1)}


def test_files_that_change_after_the_check_change_nothing(
        tiny_bundle: Path, tmp_path: Path) -> None:
    """The engine is built of the bytes whose hashes were compared."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))
    loaded = load_bundle(folder)
    for name in loaded.manifest.files:
        (folder / name).write_bytes(b'another file')
    lines: list[str] = []
    load_engine(loaded, 'onnxruntime-cpu', 1, lines.append).close()
    assert 'chosen' in lines[-1]
    with pytest.raises(UserError, match='damaged or was altered'):
        load_bundle(folder)


def test_nan_is_refused(bundle: Bundle) -> None:
    report = check_parity(NanEngine(bundle, threads=1), bundle)
    assert 'future token cosine is nan' in str(report)


def test_wrong_engines_are_refused_and_the_next_is_tried(
        bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(bundle: Bundle, threads: int, log: object) -> Engine:
        raise RuntimeError('driver\nis on fire')

    def missing(bundle: Bundle, threads: int, log: object) -> Engine:
        raise EngineUnavailable('no such thing here')

    right = ENGINES['onnxruntime-cpu']
    monkeypatch.setattr('deltaworld_ros.engine.select.ENGINES', {
        'missing': missing, 'broken': broken,
        'scaled': lambda bundle, threads, log: ScaledEngine(bundle, threads), 'right': right})
    ScaledEngine.closed = 0
    lines: list[str] = []
    engine = load_engine(bundle, threads=1, log=lines.append)
    assert engine.name == 'onnxruntime (CPUExecutionProvider)'
    assert lines[0] == 'engine missing refused: no such thing here'
    assert lines[1] == 'engine broken refused: RuntimeError: driver is on fire'
    assert lines[2].startswith('engine scaled refused: differs from golden.npz: delta token norm')
    assert lines[3].startswith('engine onnxruntime (CPUExecutionProvider) chosen')
    assert ScaledEngine.closed == 1

    with pytest.raises(UserError, match='scaled: differs from golden.npz'):
        load_engine(bundle, 'scaled', threads=1)


def test_selection_of_a_family(bundle: Bundle) -> None:
    lines: list[str] = []
    engine = load_engine(bundle, 'onnxruntime', threads=1, log=lines.append)
    assert engine.name.startswith('onnxruntime')
    assert 'chosen' in lines[-1]


@pytest.mark.parametrize('name, threads', [('tensorflow', 0), ('', 0), ('auto', -1)])
def test_bad_choices_are_named(bundle: Bundle, name: str, threads: int) -> None:
    with pytest.raises(UserError, match='must be') as caught:
        load_engine(bundle, name, threads)
    assert '\n' not in str(caught.value)


def test_missing_provider_is_one_reason(bundle: Bundle) -> None:
    import onnxruntime

    if CUDA in onnxruntime.get_available_providers():
        pytest.skip('this machine has the CUDA provider')
    with pytest.raises(EngineUnavailable, match='has no CUDAExecutionProvider'):
        OnnxRuntimeEngine(bundle, provider=CUDA)


def test_provider_that_does_not_start_is_one_reason(
        bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    # As on a machine whose onnxruntime-gpu finds no CUDA libraries: sessions run on the CPU.
    monkeypatch.setattr(onnxruntime, 'get_available_providers', lambda: [CUDA])
    monkeypatch.setattr(onnxruntime, 'preload_dlls', lambda: None, raising=False)
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, 'InferenceSession',
        lambda path, options, providers, **_: session(
            path, options, ['CPUExecutionProvider']))
    with pytest.raises(EngineUnavailable, match='could not start CUDAExecutionProvider'):
        OnnxRuntimeEngine(bundle, provider=CUDA)


@pytest.mark.parametrize('package, name', [('onnxruntime', 'onnxruntime-cpu'), ('torch', 'torch')])
def test_missing_package_is_one_reason(
        bundle: Bundle, monkeypatch: pytest.MonkeyPatch, package: str, name: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for module in ('torch_engine', 'onnx_operators'):
        monkeypatch.delitem(sys.modules, f'deltaworld_ros.engine.{module}', raising=False)
    with pytest.raises(EngineUnavailable, match=f'{package} is not installed'):
        ENGINES[name](bundle, 0, print)


def test_incomplete_golden_is_one_reason(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bundle, tmp_path / 'bundle')
    np.savez(folder / 'golden.npz', frames=np.zeros((1, 2, 2, 3), np.uint8))
    write_manifest(folder, load_bundle(tiny_bundle).manifest)
    with pytest.raises(UserError, match='golden.npz lacks stamps'):
        load_engine(load_bundle(folder), 'onnxruntime-cpu', threads=1)


def test_graph_that_is_no_onnx_is_one_reason(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bundle, tmp_path / 'bundle')
    manifest = load_bundle(tiny_bundle).manifest
    (folder / 'rollout.onnx').write_bytes(b'not a graph')
    write_manifest(folder, manifest)
    with pytest.raises(UserError, match='rollout.onnx: is no ONNX model'):
        load_bundle(folder)
    # Whole as a protocol buffer, and no graph that can be computed.
    model = onnx.load(tiny_bundle / 'rollout.onnx')
    del model.graph.node[0]
    onnx.save(model, folder / 'rollout.onnx')
    write_manifest(folder, manifest)
    with pytest.raises(UserError, match='onnxruntime-cpu: ') as caught:
        load_engine(load_bundle(folder), 'onnxruntime-cpu', threads=1)
    assert '\n' not in str(caught.value)


def test_runtime_imports_no_torch_and_no_rclpy() -> None:
    code = ('import sys, deltaworld_ros.engine, deltaworld_ros.forecast, deltaworld_ros.bundle; '
            'sys.exit(any(name in sys.modules for name in ("torch", "rclpy")))')
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0


def test_graph_whose_names_are_no_text_is_one_reason(
        tiny_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing else is printed: ONNX Runtime's second attempt would come with a banner."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))
    content = (folder / 'rollout.onnx').read_bytes()
    assert b'noise_projection' in content
    (folder / 'rollout.onnx').write_bytes(
        content.replace(b'noise_projection_half', b'noise_projection_hal\xff', 1))
    write_manifest(folder, load_bundle(tiny_bundle).manifest)
    with pytest.raises(UserError) as caught:
        load_engine(load_bundle(folder), 'onnxruntime-cpu', threads=1)
    assert '\n' not in str(caught.value)
    assert 'EP Error' not in ''.join(capfd.readouterr())
