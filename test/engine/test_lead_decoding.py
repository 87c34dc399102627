# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Only the leads that are asked for are decoded, and their maps are those of the whole graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from support.limited_engine import LimitedEngine
from support.network_bundle import network_bundle

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.bundle.lead_outputs import FUSED_MAPS, FUTURE_MAPS, lead_output
from deltaworld_ros.engine.cut_graph import cut_graph
from deltaworld_ros.engine.decode_batches import DecodeBatches
from deltaworld_ros.engine.onnxruntime_engine import MOST_CUT_SESSIONS, OnnxRuntimeEngine

MAPS = (*FUSED_MAPS, *FUTURE_MAPS)
FUTURES = 2


@pytest.fixture(scope='module')
def bundle() -> Bundle:
    return load_bundle(network_bundle())


def arguments(engine: OnnxRuntimeEngine, bundle: Bundle) -> tuple:
    m, random = bundle.manifest, np.random.default_rng(0)
    features = random.standard_normal((m.num_patches, m.feature_size)).astype(np.float32)
    tokens = random.standard_normal((FUTURES, m.steps, m.token_size)).astype(np.float32)
    weights = np.array([0.75, 0.25], np.float32)
    return engine.features_from_host(features), tokens, weights


@pytest.mark.parametrize('leads', [(0,), (1,), (3,), (0, 2), (0, 1, 2, 3)])
@pytest.mark.parametrize('outputs', [FUSED_MAPS, MAPS])
def test_maps_of_some_leads_are_those_of_the_whole_graph(
        bundle: Bundle, leads: tuple[int, ...], outputs: tuple[str, ...]):
    engine = OnnxRuntimeEngine(bundle, threads=1)
    given = arguments(engine, bundle)
    whole = engine.decode(*given, outputs)
    some = engine.decode(*given, outputs, leads)
    assert set(some) == set(outputs)
    for name in outputs:
        assert some[name].shape == whole[name].shape
        assert some[name].dtype == whole[name].dtype
        for lead in leads:
            if name in FUSED_MAPS:
                np.testing.assert_array_equal(some[name][lead], whole[name][lead])
            elif lead:
                np.testing.assert_array_equal(some[name][:, lead - 1], whole[name][:, lead - 1])


def decoder_blocks(bundle: Bundle, outputs: list[str]) -> int:
    """Count the attentions in the graph that these outputs need."""
    model = cut_graph(bundle.file('decode.onnx').read_bytes(), outputs)
    assert model is not None
    graph = onnx.load_from_string(model)
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(graph))
    assert [output.name for output in graph.graph.output] == outputs
    return sum(node.op_type == 'Softmax' for node in graph.graph.node)


def test_farther_leads_and_unwanted_heads_are_not_in_the_graph(bundle: Bundle):
    blocks = [decoder_blocks(bundle, [lead_output('fused_depth', lead)]) for lead in range(4)]
    assert blocks == [0, 1, 2, 3]
    path = bundle.file('decode.onnx')
    whole = len(onnx.load(path).graph.node)
    fused = cut_graph(path.read_bytes(), [lead_output('fused_depth', 3)])
    assert fused is not None
    assert len(onnx.load_from_string(fused).graph.node) < whole


def test_cutting_to_all_outputs_changes_nothing(bundle: Bundle):
    path = bundle.file('decode.onnx')
    names = [output.name for output in onnx.load(path).graph.output]
    cut = cut_graph(path.read_bytes(), names)
    assert cut is not None
    assert list(onnx.load_from_string(cut).graph.node) == list(onnx.load(path).graph.node)


def test_bundles_without_leads_are_decoded_whole(tiny_bundle: Path):
    bundle = load_bundle(tiny_bundle)
    assert cut_graph(bundle.file('decode.onnx').read_bytes(), ['fused_depth_of_lead_3']) is None
    engine = OnnxRuntimeEngine(bundle, threads=1)
    given = arguments(engine, bundle)
    whole, some = engine.decode(*given, MAPS), engine.decode(*given, MAPS, (3,))
    for name in MAPS:
        np.testing.assert_array_equal(some[name], whole[name])


def test_few_cut_graphs_are_kept(bundle: Bundle):
    engine = OnnxRuntimeEngine(bundle, threads=1)
    given = arguments(engine, bundle)
    for leads in ((0,), (1,), (2,), (3,), (1, 2)):
        engine.decode(*given, FUSED_MAPS, leads)
    assert len(engine._cut_sessions) == MOST_CUT_SESSIONS


def test_what_is_no_model_is_refused():
    with pytest.raises(ValueError, match='wire type'):
        cut_graph(b'\x0b\x00', ['depth'])


def test_batches_mix_the_probabilities_of_all_futures(bundle: Bundle) -> None:
    """Where memory is short, confidence is the same probability as at once."""
    assert bundle.manifest.temperatures
    outputs = ('fused_labels', 'confidence', 'class_probabilities')
    engine = OnnxRuntimeEngine(bundle, threads=1)
    given = arguments(engine, bundle)
    wanted = engine.decode(*given, outputs)
    limited = LimitedEngine(bundle, 1)
    actual = DecodeBatches(limited, bundle.manifest, lambda line: None).decode(*given, outputs)
    assert list(actual) == list(outputs)
    same = wanted['fused_labels'] == actual['fused_labels']
    assert same.mean() > 0.999
    np.testing.assert_allclose(
        actual['confidence'][same], wanted['confidence'][same], atol=1e-4)
    np.testing.assert_allclose(
        actual['class_probabilities'], wanted['class_probabilities'], atol=1e-5)
