# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decoding in batches that fit gives what decoding at once gives, on a real engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.limited_engine import NO_MEMORY, LimitedEngine
from support.tiny_bundle import fading_frames

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.engine import (
    Engine,
    EngineUnavailable,
    OutOfDeviceMemory,
    check_parity,
    load_engine,
)
from deltaworld_ros.engine.decode_batches import DecodeBatches, is_out_of_memory
from deltaworld_ros.engine.onnxruntime_engine import OnnxRuntimeEngine
from deltaworld_ros.errors import UserError
from deltaworld_ros.evaluate.verification import verify_engines
from deltaworld_ros.forecast.forecaster import Forecaster

FUTURES = 7
OUTPUTS = ('labels', 'depth', 'fused_labels', 'fused_depth', 'confidence', 'future_features')


@pytest.fixture(scope='module')
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


def futures(bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens that change the classes, and uneven weights."""
    m = bundle.manifest
    generator = np.random.default_rng(0)
    tokens = generator.standard_normal((FUTURES, m.steps, m.token_size)).astype(np.float32)
    weights = generator.random(FUTURES).astype(np.float32)
    return tokens, weights / weights.sum()


def decode(engine: Engine, bundle: Bundle, outputs: Any = OUTPUTS) -> dict[str, np.ndarray]:
    features, _, _ = engine.observe(fading_frames(bundle.manifest, 1)[0], None)
    return engine.decode(features, *futures(bundle), outputs)


@pytest.mark.parametrize(('most', 'chosen'), [(1, 1), (2, 2), (3, 2), (6, 4)])
def test_batches_give_the_same(bundle: Bundle, most: int, chosen: int) -> None:
    wanted = decode(OnnxRuntimeEngine(bundle, threads=1), bundle)
    # The futures differ from each other and from their mean: agreement would prove nothing else.
    assert 0.1 < wanted['confidence'][1:].mean() < 0.95
    lines: list[str] = []
    engine = DecodeBatches(LimitedEngine(bundle, most), bundle.manifest, lines.append)
    actual = decode(engine, bundle)
    assert list(actual) == list(OUTPUTS)
    for name in ('labels', 'fused_labels'):
        np.testing.assert_array_equal(actual[name], wanted[name], name)
    for name in ('depth', 'fused_depth', 'confidence', 'future_features'):
        np.testing.assert_allclose(actual[name], wanted[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert all(actual[name].dtype == wanted[name].dtype for name in OUTPUTS)
    [line] = lines
    assert f'{chosen} at a time' in line and '\n' not in line


def test_only_what_was_asked_is_given(bundle: Bundle) -> None:
    inner = LimitedEngine(bundle, 2)
    engine = DecodeBatches(inner, bundle.manifest, print)
    for outputs in (['depth'], ['confidence', 'fused_depth'], ['fused_labels'], ['labels']):
        wanted = decode(OnnxRuntimeEngine(bundle, threads=1), bundle, outputs)
        actual = decode(engine, bundle, outputs)
        assert list(actual) == outputs
        for name in outputs:
            np.testing.assert_allclose(actual[name], wanted[name], rtol=1e-4, atol=1e-5)
    inner.calls.clear()
    decode(engine, bundle, ['labels'])
    # Each future's maps need no mean.
    assert inner.calls == [2, 2, 2, 1]


def test_the_mean_of_tokens_is_decoded_by_itself() -> None:
    """Where fused maps show the mean token, batches give them too, and only one more future."""
    pytest.importorskip('torch')
    from support.network_bundle import network_bundle
    bundle = load_bundle(network_bundle())
    m = bundle.manifest
    assert m.fused == 'tokens'
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (m.image_height, m.image_width, 3), np.uint8)
    tokens = random.standard_normal((FUTURES, m.steps, m.token_size)).astype(np.float32)
    weights = np.arange(1.0, FUTURES + 1, dtype=np.float32) / (FUTURES * (FUTURES + 1) / 2)
    whole, inner = OnnxRuntimeEngine(bundle, threads=1), LimitedEngine(bundle, 2)
    features, _, _ = whole.observe(image, None)
    wanted = whole.decode(features, tokens, weights, OUTPUTS)
    mean = np.tensordot(weights, tokens, 1)[None]
    alone = whole.decode(features, mean, np.ones(1, np.float32), OUTPUTS)
    np.testing.assert_allclose(alone['fused_depth'], wanted['fused_depth'], rtol=1e-3)
    np.testing.assert_allclose(alone['depth'][0], wanted['fused_depth'][1:], rtol=1e-3)
    engine = DecodeBatches(inner, m, lambda line: None)
    actual = engine.decode(features, tokens, weights, OUTPUTS)
    for name in OUTPUTS:
        same = np.isclose(actual[name], wanted[name], rtol=1e-2, atol=1e-3)
        assert same.mean() > 0.995, name
    inner.calls.clear()
    engine.decode(features, tokens, weights, ['fused_labels'])
    assert inner.calls == [1]


def test_the_size_that_works_is_kept(bundle: Bundle) -> None:
    lines: list[str] = []
    inner = LimitedEngine(bundle, 2)
    engine = DecodeBatches(inner, bundle.manifest, lines.append)
    decode(engine, bundle, ['labels'])
    assert inner.calls == [7, 4, 2, 2, 2, 1]
    inner.calls.clear()
    decode(engine, bundle, ['labels'])
    assert inner.calls == [2, 2, 2, 1] and len(lines) == 1


def test_an_engine_with_memory_is_asked_once(bundle: Bundle) -> None:
    inner = LimitedEngine(bundle, FUTURES)
    decode(DecodeBatches(inner, bundle.manifest, pytest.fail), bundle)
    assert inner.calls == [FUTURES]


def test_no_memory_for_one_future_is_the_engines_error(bundle: Bundle) -> None:
    inner = LimitedEngine(bundle, 0)
    engine = DecodeBatches(inner, bundle.manifest, pytest.fail)
    with pytest.raises(RuntimeError, match='Failed to allocate memory'):
        decode(engine, bundle)
    assert inner.calls == [7, 4, 2, 1]
    # A shortage that ends leaves no trace.
    inner.most = FUTURES
    inner.calls.clear()
    decode(engine, bundle)
    assert inner.calls == [FUTURES]


def test_other_errors_are_not_retried(bundle: Bundle) -> None:
    inner = LimitedEngine(bundle, 0, lambda: RuntimeError('the device is on fire'))
    with pytest.raises(RuntimeError, match='on fire'):
        decode(DecodeBatches(inner, bundle.manifest, pytest.fail), bundle)
    assert inner.calls == [7]


@pytest.mark.parametrize(('error', 'memory'), [
    (RuntimeError(NO_MEMORY), True),
    (RuntimeError('CUDNN failure 4000: CUDNN_STATUS_ALLOC_FAILED ; GPU=0'), True),
    (RuntimeError('CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0'), True),
    (RuntimeError('CUDA failure 2: out of memory ; GPU=0 ; hostname=robot'), True),
    (RuntimeError('TensorRT could not start the engine: Error Code 2: OutOfMemory (Requested '
                  'size was 4096 bytes.)'), True),
    (OutOfDeviceMemory('cudaMalloc'), True),
    (MemoryError(), True),
    (EngineUnavailable('no GPU'), False),
    (ValueError('tokens (3, 4): the engine was built for other shapes'), False),
    (RuntimeError('CUDA failure 700: an illegal memory access was encountered'), False),
])
def test_shortages_of_memory_are_told_from_other_errors(error: Exception, memory: bool) -> None:
    assert is_out_of_memory(error) == memory


def test_shortages_of_torch_are_known() -> None:
    torch = pytest.importorskip('torch')
    assert is_out_of_memory(torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate'))


def test_the_gate_is_passed_in_batches(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('deltaworld_ros.engine.select.ENGINES', {
        'limited': lambda bundle, threads, log: LimitedEngine(bundle, 2)})
    lines: list[str] = []
    engine = load_engine(bundle, log=lines.append)
    assert 'at a time from now on' in lines[0] and 'chosen' in lines[1]
    assert check_parity(engine, bundle).passed
    forecaster = Forecaster(engine, bundle.manifest)
    for number, frame in enumerate(fading_frames(bundle.manifest, 4)):
        forecaster.observe(frame, number * 0.2)
    assert forecaster.forecast().labels is not None


def test_no_memory_at_all_is_one_reason(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('deltaworld_ros.engine.select.ENGINES', {
        'limited': lambda bundle, threads, log: LimitedEngine(bundle, 0)})
    with pytest.raises(UserError, match='limited: RuntimeError: .*Failed to allocate') as caught:
        load_engine(bundle, log=print)
    assert '\n' not in str(caught.value)


def test_verification_goes_on_after_a_failure(
        bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = {'without': lambda bundle, threads, log: LimitedEngine(bundle, 0),
               'with': lambda bundle, threads, log: LimitedEngine(bundle, 2)}
    monkeypatch.setattr('deltaworld_ros.engine.select.ENGINES', engines)
    monkeypatch.setattr('deltaworld_ros.evaluate.verification.ENGINES', engines)
    lines: list[str] = []
    failed, correct = verify_engines(bundle, log=lines.append)
    assert (failed.engine, failed.outcome) == ('without', 'failed')
    assert 'Failed to allocate memory' in failed.details
    assert correct.outcome == 'correct' and len(lines) == 1
