# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Only the leads that are asked for are decoded, and their maps are those of the whole graph."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from support.limited_engine import NO_MEMORY, LimitedEngine
from support.network_bundle import network_bundle

from deltaworld_ros.bundle import Bundle, load_bundle, write_manifest
from deltaworld_ros.bundle.lead_outputs import FUSED_MAPS, FUTURE_MAPS, lead_output
from deltaworld_ros.engine import Engine, LeadDecoding, load_engine
from deltaworld_ros.engine.cut_graph import cut_graph
from deltaworld_ros.engine.decode_batches import DecodeBatches
from deltaworld_ros.engine.onnxruntime_engine import OnnxRuntimeEngine
from deltaworld_ros.errors import UserError

MAPS = (*FUSED_MAPS, *FUTURE_MAPS)
FUTURES = 2


@pytest.fixture(scope='module')
def bundle() -> Bundle:
    return load_bundle('street-lite0')


@pytest.fixture(scope='module')
def engine(bundle: Bundle) -> OnnxRuntimeEngine:
    """Return an engine that has its graphs of single leads."""
    engine = OnnxRuntimeEngine(bundle, threads=1)
    assert len(engine.prepare_leads(bundle)) == 1 + 2 * bundle.manifest.steps
    return engine


def arguments(engine: Engine, bundle: Bundle) -> tuple:
    m, random = bundle.manifest, np.random.default_rng(0)
    features = random.standard_normal((m.num_patches, m.feature_size)).astype(np.float32)
    tokens = random.standard_normal((FUTURES, m.steps, m.token_size)).astype(np.float32)
    weights = np.array([0.75, 0.25], np.float32)
    return engine.features_from_host(features), tokens, weights


@pytest.mark.parametrize('leads', [(0,), (1,), (3,), (0, 2), (0, 1, 2, 3)])
@pytest.mark.parametrize('outputs', [FUSED_MAPS, MAPS])
def test_maps_of_some_leads_are_those_of_the_whole_graph(
        bundle: Bundle, engine: OnnxRuntimeEngine, leads: tuple[int, ...],
        outputs: tuple[str, ...]):
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
    model = cut_graph(bundle.read('decode.onnx'), outputs)
    assert model is not None
    graph = onnx.load_from_string(model)
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(graph))
    assert [output.name for output in graph.graph.output] == outputs
    return sum(node.op_type == 'Softmax' for node in graph.graph.node)


def test_farther_leads_and_unwanted_heads_are_not_in_the_graph(bundle: Bundle):
    blocks = [decoder_blocks(bundle, [lead_output('fused_depth', lead)]) for lead in range(4)]
    assert blocks == [0, 2, 4, 6]   # two layers a step
    model = bundle.read('decode.onnx')
    whole = len(onnx.load_from_string(model).graph.node)
    fused = cut_graph(model, [lead_output('fused_depth', 3)])
    assert fused is not None
    assert len(onnx.load_from_string(fused).graph.node) < whole


def test_cutting_to_all_outputs_changes_nothing(bundle: Bundle):
    model = bundle.read('decode.onnx')
    names = [output.name for output in onnx.load_from_string(model).graph.output]
    cut = cut_graph(model, names)
    assert cut is not None
    cut_nodes, nodes = (list(onnx.load_from_string(one).graph.node) for one in (cut, model))
    assert cut_nodes == nodes


def test_bundles_without_leads_are_decoded_whole(tiny_bundle: Path):
    bundle = load_bundle(tiny_bundle)
    assert cut_graph(bundle.read('decode.onnx'), ['fused_depth_of_lead_3']) is None
    engine = OnnxRuntimeEngine(bundle, threads=1)
    assert engine.prepare_leads(bundle) == []
    given = arguments(engine, bundle)
    whole, some = engine.decode(*given, MAPS), engine.decode(*given, MAPS, (3,))
    for name in MAPS:
        np.testing.assert_array_equal(some[name], whole[name])


def test_graphs_of_single_leads_are_bounded(bundle: Bundle, monkeypatch: pytest.MonkeyPatch):
    """Where not all fit, those that are asked for most are prepared."""
    room = 3 * len(bundle.read('decode.onnx')) // 2
    monkeypatch.setattr('deltaworld_ros.engine.onnxruntime_engine.MAX_LEAD_GRAPH_BYTES', room)
    prepared = OnnxRuntimeEngine(bundle, threads=1).prepare_leads(bundle)
    assert prepared == [LeadDecoding(FUSED_MAPS, lead) for lead in (0, 3)]


def test_nothing_is_opened_once_the_engine_is_loaded(
        bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever is asked for later, in any order, with the bundle's folder gone too."""
    bundle = load_bundle(shutil.copytree(bundle.path, tmp_path / 'bundle'))
    engine = load_engine(bundle, 'onnxruntime-cpu', 1, single_leads=True)
    shutil.rmtree(tmp_path / 'bundle')
    monkeypatch.setattr(onnxruntime, 'InferenceSession', lambda *_, **__: pytest.fail('opened'))
    given = arguments(engine, bundle)
    whole = engine.decode(*given, MAPS)
    for leads in ((0,), (1,), (2,), (3,), (0, 3), (1, 2), (0, 1, 2, 3)):
        for outputs in (FUSED_MAPS, MAPS, ('fused_labels',)):
            some = engine.decode(*given, outputs, leads)
            for lead in leads:
                np.testing.assert_array_equal(
                    some['fused_labels'][lead], whole['fused_labels'][lead])


def test_wrong_graph_of_one_lead_is_refused(bundle: Bundle, tmp_path: Path):
    """The whole graph is right: only what the node runs is not."""
    folder = Path(shutil.copytree(bundle.path, tmp_path / 'bundle'))
    model = onnx.load(folder / 'decode.onnx')
    name = lead_output('fused_depth', 2)
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, value in enumerate(names):
                if value == name:
                    names[place] = 'right'
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1.5), 'factor'))
    model.graph.node.append(helper.make_node('Mul', ['right', 'factor'], [name]))
    onnx.save(model, folder / 'decode.onnx')
    write_manifest(folder, bundle.manifest)
    wrong = load_bundle(folder)
    load_engine(wrong, 'onnxruntime-cpu', 1).close()
    with pytest.raises(UserError, match=r'fused_depth error of lead 2 alone is 0\.(49|5)'):
        load_engine(wrong, 'onnxruntime-cpu', 1, single_leads=True)


def test_short_memory_for_single_leads_costs_time_alone(
        bundle: Bundle, monkeypatch: pytest.MonkeyPatch):
    class Short(OnnxRuntimeEngine):
        def prepare_leads(self, bundle: Bundle) -> list[LeadDecoding]:
            raise RuntimeError(NO_MEMORY)
    monkeypatch.setattr('deltaworld_ros.engine.select.ENGINES', {
        'short': lambda bundle, threads, log: Short(bundle, 1)})
    lines: list[str] = []
    engine = load_engine(bundle, log=lines.append, single_leads=True)
    assert 'too little memory for graphs of single leads' in lines[0] and 'chosen' in lines[1]
    given = arguments(engine, bundle)
    np.testing.assert_array_equal(
        engine.decode(*given, FUSED_MAPS, (1,))['fused_depth'][1],
        engine.decode(*given, FUSED_MAPS)['fused_depth'][1])


def test_what_is_no_model_is_refused():
    with pytest.raises(ValueError, match='wire type'):
        cut_graph(b'\x0b\x00', ['depth'])


def test_batches_mix_the_probabilities_of_all_futures() -> None:
    """Where memory is short, confidence is the same probability as at once."""
    bundle = load_bundle(network_bundle())
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
