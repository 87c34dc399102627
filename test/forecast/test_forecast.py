# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The forecaster on a tiny real bundle in ONNX Runtime: frames in, weighted futures out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.tiny_bundle import fading_frames, write_tiny_bundle

from deltaworld_ros.bundle import Bundle, Manifest, load_bundle
from deltaworld_ros.bundle.time_tables import time_tables
from deltaworld_ros.engine import Engine
from deltaworld_ros.engine.onnxruntime_engine import OnnxRuntimeEngine
from deltaworld_ros.errors import UserError
from deltaworld_ros.forecast import Forecaster, Odd, Restart, depth_scale
from deltaworld_ros.forecast.relative_times import relative_times

EPOCH = 1_700_000_000
EPOCH_NS = EPOCH * 10 ** 9
STRIDE_NS = 200_000_000


@pytest.fixture(scope='module')
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture(scope='module')
def engine(bundle: Bundle) -> Engine:
    return OnnxRuntimeEngine(bundle, threads=1)


class Recorder:
    """An engine that notes what it was given and passes it on."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.name = engine.name
        self.rollouts: list[tuple[np.ndarray, ...]] = []
        self.decoded: list[Sequence[str]] = []
        self.previous: list[object] = []

    def observe(self, image: np.ndarray, previous: Any) -> Any:
        self.previous.append(previous)
        return self.engine.observe(image, previous)

    def rollout(self, *arguments: np.ndarray) -> np.ndarray:
        self.rollouts.append(arguments)
        return self.engine.rollout(*arguments)

    def decode(self, features: Any, tokens: Any, weights: Any, outputs: Sequence[str],
               leads: Sequence[int] | None = None) -> Any:
        self.decoded.append(outputs)
        return self.engine.decode(features, tokens, weights, outputs, leads)

    def features_to_host(self, features: Any) -> np.ndarray:
        return self.engine.features_to_host(features)

    def features_from_host(self, array: np.ndarray) -> Any:
        return self.engine.features_from_host(array)

    def close(self) -> None:
        self.engine.close()


def feed(forecaster: Forecaster, bundle: Bundle, count: int = 4) -> list[int]:
    fills = []
    for index, frame in enumerate(fading_frames(bundle.manifest, count)):
        fills.append(forecaster.observe(frame, EPOCH_NS + index * STRIDE_NS, 'front').fill)
    return fills


def test_forecast_of_a_full_context(engine: Engine, bundle: Bundle) -> None:
    m = bundle.manifest
    forecaster = Forecaster(engine, m)
    assert not forecaster.ready
    assert feed(forecaster, bundle) == [1, 2, 3, 4]
    assert forecaster.ready
    result = forecaster.forecast()
    maps = (m.map_height, m.map_width)
    assert result.leads == (0.0, 0.2, 0.4, 0.6)
    assert result.stamp == pytest.approx(EPOCH + 0.6, abs=1e-6)
    assert result.context_stamps == pytest.approx([EPOCH + 0.2 * i for i in range(4)], abs=1e-6)
    assert result.fused_labels.shape == result.confidence.shape == (4, *maps)
    assert result.labels is not None and result.labels.shape == (4, 3, *maps)
    assert result.depth is not None and result.depth.shape == (4, 3, *maps)
    assert result.labels.dtype == result.fused_labels.dtype == np.uint8
    assert result.depth.dtype == result.fused_depth.dtype == np.float32
    assert result.weights.sum() == pytest.approx(1, abs=1e-6)
    assert (np.diff(result.weights) <= 0).all()
    assert (result.confidence[0] == 1).all()
    assert set(result.timings) == {'observe', 'rollout', 'select', 'decode'}
    assert all(0 < value < 10_000 for value in result.timings.values())


def test_fading_goes_on(engine: Engine, bundle: Bundle) -> None:
    forecaster = Forecaster(engine, bundle.manifest)
    feed(forecaster, bundle)
    # The pictures grow brighter, and brighter means farther in the tiny bundle.
    means = forecaster.forecast().fused_depth.mean((1, 2))
    assert (np.diff(means) > 0.2).all()


def test_context_handed_to_the_rollout(engine: Engine, bundle: Bundle) -> None:
    m = bundle.manifest
    recorder = Recorder(engine)
    forecaster = Forecaster(recorder, m)
    feed(forecaster, bundle)
    forecaster.forecast()
    frames = fading_frames(m, 4)
    observed = [engine.observe(frames[0], None)]
    for frame in frames[1:]:
        observed.append(engine.observe(frame, observed[-1][0]))
    tokens, cos, sin, noise, motion = recorder.rollouts[0]
    assert motion is None
    np.testing.assert_array_equal(tokens[0], observed[0][2])  # the oldest: its anchor token
    for index in (1, 2, 3):
        np.testing.assert_array_equal(tokens[index], observed[index][1])
    wanted = time_tables([-0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6], m.rotary_frequencies)
    np.testing.assert_allclose(cos, wanted[0], atol=1e-6)
    np.testing.assert_allclose(sin, wanted[1], atol=1e-6)
    assert noise.shape == (m.num_samples, m.steps, m.noise_size) and noise.dtype == np.float32
    assert [previous is None for previous in recorder.previous] == [True, False, False, False]


def test_irregular_stamps_reach_the_tables(engine: Engine, bundle: Bundle) -> None:
    m = bundle.manifest
    recorder = Recorder(engine)
    forecaster = Forecaster(recorder, m)
    for frame, offset in zip(fading_frames(m, 4), (0, 180, 410, 590), strict=True):
        forecaster.observe(frame, EPOCH_NS + offset * 1_000_000)
    forecaster.forecast()
    _, cos, *_ = recorder.rollouts[0]
    wanted, _ = time_tables([-0.59, -0.41, -0.18, 0, 0.2, 0.4, 0.6], m.rotary_frequencies)
    np.testing.assert_allclose(cos, wanted, atol=1e-6)


@pytest.mark.parametrize('queries', ['kept', 'fresh'])
def test_noise(tmp_path: Path, queries: str) -> None:
    bundle = load_bundle(write_tiny_bundle(
        tmp_path / 'bundle', queries=queries, noise_std=0.5, num_samples=512, noise_size=16))
    recorder = Recorder(OnnxRuntimeEngine(bundle, threads=1))
    forecaster = Forecaster(recorder, bundle.manifest)
    feed(forecaster, bundle)
    forecaster.forecast(futures=False)
    forecaster.forecast(futures=False)
    forecaster.sample_futures(512, 6)
    first, second, drawn = (rollout[3] for rollout in recorder.rollouts)
    assert first.std() == pytest.approx(0.5, rel=0.03)
    assert abs(first.mean()) < 0.02
    # Futures keep their queries from frame to frame; evaluation draws new ones.
    assert np.array_equal(first, second)
    assert not np.array_equal(first, drawn)
    same = [np.array_equal(first[:, 0], first[:, step]) for step in (1, 2)]
    assert same == [queries == 'kept'] * 2
    # Another draw of the same seed is the same draw.
    again = Recorder(OnnxRuntimeEngine(bundle, threads=1))
    twin = Forecaster(again, bundle.manifest)
    feed(twin, bundle)
    twin.forecast(futures=False)
    np.testing.assert_array_equal(again.rollouts[0][3], first)


def test_only_what_was_asked_is_copied_back(engine: Engine, bundle: Bundle) -> None:
    recorder = Recorder(engine)
    forecaster = Forecaster(recorder, bundle.manifest)
    feed(forecaster, bundle)
    result = forecaster.forecast(futures=False)
    assert result.labels is None and result.depth is None
    assert 'labels' not in recorder.decoded[-1] and 'depth' not in recorder.decoded[-1]
    assert 'future_features' not in recorder.decoded[-1]
    forecaster.forecast()
    assert 'future_features' not in recorder.decoded[-1]


def test_present_needs_no_context(engine: Engine, bundle: Bundle) -> None:
    m = bundle.manifest
    forecaster = Forecaster(engine, m)
    with pytest.raises(RuntimeError, match='no frame'):
        forecaster.present()
    feed(forecaster, bundle, 1)
    present = forecaster.present()
    assert present.leads == (0.0,)
    assert present.fused_labels.shape == (1, m.map_height, m.map_width)
    assert (present.confidence == 1).all()
    with pytest.raises(RuntimeError, match='1 of 4 links'):
        forecaster.forecast()
    feed(forecaster, bundle)
    now, ahead = forecaster.present(), forecaster.forecast()
    np.testing.assert_array_equal(now.fused_labels[0], ahead.fused_labels[0])
    np.testing.assert_array_equal(now.fused_depth[0], ahead.fused_depth[0])


def test_weights_have_the_temperature_of_the_bundle(engine: Engine, bundle: Bundle) -> None:
    """What is published and what fuses the maps have it; equal weights stay equal."""
    values = {name: getattr(bundle.manifest, name) for name in vars(bundle.manifest)}
    tempered = Manifest(**{**values, 'weight_temperature': 2.0})
    plain, other = (Forecaster(engine, m) for m in (bundle.manifest, tempered))
    for forecaster in (plain, other):
        feed(forecaster, bundle)
    first, second = plain.forecast(features=True), other.forecast(features=True)
    assert first.labels is not None and second.labels is not None
    np.testing.assert_array_equal(first.labels, second.labels)
    roots = np.sqrt(first.weights)
    assert first.weights.max() > first.weights.min()
    np.testing.assert_allclose(second.weights, roots / roots.sum(), rtol=1e-5)
    assert first.fused_features is not None and second.fused_features is not None
    assert np.abs(first.fused_features - second.fused_features).max() > 0
    tokens, weights, _ = other.sample_futures(4, 4)
    np.testing.assert_allclose(weights, 0.25)


def test_plain_sampling(engine: Engine, bundle: Bundle) -> None:
    recorder = Recorder(engine)
    forecaster = Forecaster(recorder, bundle.manifest, num_samples=20, num_futures=20)
    feed(forecaster, bundle)
    tokens, weights, _ = forecaster.sample_futures()
    np.testing.assert_allclose(weights, 1 / 20)
    np.testing.assert_array_equal(tokens, engine.rollout(*recorder.rollouts[0]))
    assert forecaster.forecast().labels.shape[0] == 20


def test_restarts_are_reported(engine: Engine, bundle: Bundle) -> None:
    forecaster = Forecaster(engine, bundle.manifest, max_gap=0.5)
    frame = fading_frames(bundle.manifest, 1)[0]
    feed(forecaster, bundle)
    # A single frame of the past is left out; what lasts begins anew.
    assert forecaster.observe(frame, EPOCH_NS, 'front').verdict.odd is Odd.LATE
    assert forecaster.ready
    assert forecaster.observe(frame, EPOCH + 0.1, 'front').verdict.odd is Odd.LATE
    back = forecaster.observe(frame, EPOCH + 0.2, 'front')
    assert back.verdict.restart is Restart.WENT_BACK and back.verdict.detail == 'by 0.400 s'
    assert back.fill == 1 and not forecaster.ready
    gap = forecaster.observe(frame, EPOCH + 0.8, 'front')
    assert gap.verdict.restart is Restart.GAP and gap.verdict.detail.startswith('of 0.600 s')
    for stamp in (1.0, 1.2):
        assert forecaster.observe(frame, EPOCH + stamp, 'rear').verdict.odd is Odd.OTHER_SOURCE
    changed = forecaster.observe(frame, EPOCH + 1.4, 'rear')
    assert changed.verdict.restart is Restart.SOURCE_CHANGED
    forecaster.reset(Restart.REQUESTED)
    assert forecaster.observe(frame, EPOCH + 1.6, 'rear').verdict.restart is Restart.REQUESTED
    assert forecaster.observe(frame, EPOCH + 1.8, 'rear').fill == 2


def test_engine_failure_leaves_a_usable_forecaster(engine: Engine, bundle: Bundle) -> None:
    class Failing(Recorder):
        fails = False

        def observe(self, image: np.ndarray, previous: Any) -> Any:
            if self.fails:
                raise RuntimeError('out of memory')
            return super().observe(image, previous)

    failing = Failing(engine)
    forecaster = Forecaster(failing, bundle.manifest)
    feed(forecaster, bundle)
    frame = fading_frames(bundle.manifest, 1)[0]
    failing.fails = True
    with pytest.raises(RuntimeError, match='out of memory'):
        forecaster.observe(frame, EPOCH_NS + 4 * STRIDE_NS, 'front')
    failing.fails = False
    assert forecaster.observe(frame, EPOCH_NS + 4 * STRIDE_NS + 1000, 'front').fill == 4


@pytest.mark.parametrize('samples, futures', [(4, 5), (0, 0), (8, 0), (8, -2)])
def test_numbers_that_do_not_fit_are_refused(
        engine: Engine, bundle: Bundle, samples: int, futures: int) -> None:
    with pytest.raises(UserError, match='num_futures'):
        Forecaster(engine, bundle.manifest, num_samples=samples, num_futures=futures)


@pytest.mark.parametrize('max_gap', [0.0, -1.0, float('nan')])
def test_bad_gap_is_refused(engine: Engine, bundle: Bundle, max_gap: float) -> None:
    with pytest.raises(UserError, match='max_gap'):
        Forecaster(engine, bundle.manifest, max_gap=max_gap)


@pytest.mark.parametrize('image', [
    np.zeros((32, 64), np.uint8), np.zeros((64, 32, 3), np.uint8),
    np.zeros((32, 64, 4), np.uint8), np.zeros((32, 64, 3), np.float32)])
def test_bad_images_are_refused(engine: Engine, bundle: Bundle, image: np.ndarray) -> None:
    with pytest.raises(UserError, match=r'must be \(32, 64, 3\) uint8'):
        Forecaster(engine, bundle.manifest).observe(image, 0.0)


@pytest.mark.parametrize('stamp', [float('nan'), float('inf')])
def test_bad_stamps_are_refused(engine: Engine, bundle: Bundle, stamp: float) -> None:
    frame = fading_frames(bundle.manifest, 1)[0]
    with pytest.raises(UserError, match='stamp'):
        Forecaster(engine, bundle.manifest).observe(frame, stamp)


def test_seconds_and_nanoseconds_are_the_same_stamp(engine: Engine, bundle: Bundle) -> None:
    frame = fading_frames(bundle.manifest, 1)[0]
    forecaster = Forecaster(engine, bundle.manifest)
    forecaster.observe(frame, 1000.0)
    assert forecaster.observe(frame, np.float64(1000.2)).fill == 2
    assert forecaster.observe(frame, np.int64(1_000_400_000_000)).fill == 3


def test_rotary_tables_are_exact_at_epoch_stamps() -> None:
    frequencies = 10.0 ** -np.linspace(-2, 2, 30)
    offsets = (0, 200_000_123, 399_999_877, 600_000_001)
    leads = (0.2, 0.4, 0.6)
    times = relative_times([EPOCH_NS + offset for offset in offsets], leads)
    cos, sin = time_tables(times, list(frequencies))
    exact = np.array([(offset - offsets[-1]) / 1e9 for offset in offsets] + list(leads))
    angles = 2 * np.pi * exact[:, None] * frequencies
    assert cos.dtype == sin.dtype == np.float32 and cos.shape == (7, 30)
    np.testing.assert_allclose(cos, np.cos(angles), atol=1e-6)
    np.testing.assert_allclose(sin, np.sin(angles), atol=1e-6)
    # The trap that re-basing avoids: float32 epoch seconds are another time altogether.
    epoch = (EPOCH + exact).astype(np.float32)
    assert np.abs(np.cos(2 * np.pi * epoch[:, None] * frequencies) - cos).max() > 0.5


@pytest.mark.parametrize('fx, fy, scale', [
    (64.0, 64.0, 1.0), (32.0, 32.0, 0.5), (96.0, 96.0, 1.5), (32.0, 128.0, 1.0)])
def test_depth_scale(bundle: Bundle, fx: float, fy: float, scale: float) -> None:
    assert depth_scale(bundle.manifest, np.diag([fx, fy, 1])) == pytest.approx(scale)


@pytest.mark.parametrize('fx', [0.0, -1.0, float('nan'), float('inf')])
def test_depth_scale_of_an_uncalibrated_camera(bundle: Bundle, fx: float) -> None:
    with pytest.raises(UserError, match='focal length'):
        depth_scale(bundle.manifest, np.diag([fx, fx, 1]))
