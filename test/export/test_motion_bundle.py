# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A bundle whose predictor can be told the robot's motion: graphs, gate, engines, weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.network_bundle import motion_bundle, small_recipe, trained_like

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.bundle.time_tables import time_tables
from deltaworld_ros.engine.graph_cost import bundle_cost
from deltaworld_ros.engine.interface import Engine
from deltaworld_ros.engine.onnxruntime_engine import OnnxRuntimeEngine
from deltaworld_ros.engine.parity import check_parity
from deltaworld_ros.engine.tensorrt.build import input_ranges
from deltaworld_ros.engine.torch_engine import TorchEngine
from deltaworld_ros.evaluate.verification import describe_bundle
from deltaworld_ros.export.graph_networks import graph_networks
from deltaworld_ros.export.precision_report import precision_report
from deltaworld_ros.forecast.forecaster import Forecaster


@pytest.fixture(scope='module')
def bundle() -> Bundle:
    return load_bundle(motion_bundle())


@pytest.fixture(scope='module', params=[OnnxRuntimeEngine, TorchEngine])
def engine(bundle: Bundle, request: pytest.FixtureRequest) -> Engine:
    made: Engine = request.param(bundle, threads=1)
    return made


def rolled(engine: Engine, bundle: Bundle, motion: np.ndarray | None) -> np.ndarray:
    """Return the tokens that follow the same past under a motion."""
    m, random = bundle.manifest, np.random.default_rng(0)
    times = m.stride * np.arange(1 - m.context_length, m.steps + 1)
    tokens = random.standard_normal((m.context_length, m.token_size)).astype(np.float32)
    noise = random.standard_normal((2, m.steps, m.noise_size)).astype(np.float32)
    return engine.rollout(tokens, *time_tables(times, m.rotary_frequencies), noise, motion)


def test_engines_pass_the_motion_on(bundle: Bundle, engine: Engine) -> None:
    """The gate holds with a motion; none is the same as one that is not known."""
    assert bundle.manifest.motion
    report = check_parity(engine, bundle)
    assert report.passed, str(report)
    rows = bundle.manifest.context_length + bundle.manifest.steps
    nothing, unknown = (rolled(engine, bundle, given) for given in (
        None, np.zeros((rows, 3), np.float32)))
    assert np.array_equal(nothing, unknown)
    brakes = np.array([[8.0, 0.0, 1.0]] * rows, np.float32)
    goes_on = rolled(engine, bundle, brakes)
    brakes[-1, 0] = 2.0   # only in the last step
    found = rolled(engine, bundle, brakes)
    assert np.array_equal(found[:, :-1], goes_on[:, :-1])
    assert np.abs(found[:, -1] - goes_on[:, -1]).max() > 1e-3
    assert np.abs(goes_on - nothing).max() > 1e-3


def test_the_gate_sees_a_motion_that_is_lost(bundle: Bundle) -> None:
    """An engine that leaves the motion out differs from the golden tokens."""
    class Forgets(OnnxRuntimeEngine):
        def rollout(self, *arguments: np.ndarray) -> np.ndarray:
            return super().rollout(*arguments[:4])
    report = check_parity(Forgets(bundle, threads=1), bundle)
    assert any('future token' in problem for problem in report.problems)


def test_forecasts_hear_the_motion(bundle: Bundle) -> None:
    m = bundle.manifest
    forecaster = Forecaster(OnnxRuntimeEngine(bundle, threads=1), m)
    frames = np.random.default_rng(0).integers(
        0, 256, (m.context_length, m.image_height, m.image_width, 3), dtype=np.uint8)
    for place, frame in enumerate(frames):
        forecaster.observe(frame, round((5.0 + m.stride * place) * 1e9))
    assert forecaster.context_stamps_ns == (
        5_000_000_000, 5_200_000_000, 5_400_000_000, 5_600_000_000)
    motion = np.ones((m.context_length + m.steps, 3), np.float32)
    plain, told = (forecaster.forecast(features=True, motion=given) for given in (None, motion))
    assert not np.allclose(plain.fused_features, told.fused_features)


def test_networks_come_back_with_their_motion_layers(bundle: Bundle) -> None:
    expected = trained_like(recipe=small_recipe('street-motion'))
    found = graph_networks(bundle)
    state = found.parts()['world'].state_dict()
    for name in ('token_motion.weight', 'query_motion.weight'):
        assert torch.allclose(
            state[name], expected.parts()['world'].state_dict()[name], atol=1e-3), name


def test_everything_else_that_runs_the_graph_knows_the_input(bundle: Bundle) -> None:
    m = bundle.manifest
    assert bundle_cost(bundle, 8, 2)['predictor'] > 0
    assert input_ranges('rollout', m)['motion'] == {0: (1, 1, 1)}
    with np.load(bundle.path / 'golden.npz') as golden:
        rows = precision_report(graph_networks(bundle), m, 'fp32', golden)
    tokens = [row for row in rows if row.layers == 'future_tokens']
    assert tokens and tokens[0].worst > 0.999
    assert describe_bundle(bundle)['plans'].startswith('takes them')


def test_a_bundle_without_it_takes_no_motion(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    assert describe_bundle(bundle)['plans'] == 'not trained with the motion of the robot'
    assert not bundle.manifest.motion and 'motion' not in input_ranges('rollout', bundle.manifest)
    engine = OnnxRuntimeEngine(bundle, threads=1)
    with pytest.raises(ValueError, match="bundle 'tiny': its predictor takes no motion"):
        rolled(engine, bundle, np.zeros((7, 3), np.float32))
