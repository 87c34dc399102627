# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The real TensorRT-RTX parses and builds every exported graph ahead of time, with no GPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnx
import pytest
from support.network_bundle import network_bundle
from support.vit_bundle import vit_bundle

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.bundle.manifest import GRAPHS
from deltaworld_ros.engine import EngineUnavailable
from deltaworld_ros.engine.tensorrt.build import build_plan, input_ranges
from deltaworld_ros.engine.tensorrt.library import find_library, library_name

# Jetson's and the desktop cards' generations: Ampere, Ada and Blackwell.
CAPABILITIES = ('8.6', '8.9', '12.0')
REQUIRED = 'pip install tensorrt-rtx-cu13-bindings tensorrt-rtx-cu13-libs (x86-64 Linux)'

pytest.importorskip('torch')
trt = pytest.importorskip('tensorrt_rtx_bindings', reason=REQUIRED)


def no_progress(phase: str, step: int, steps: int) -> None:
    pass


def build_all(bundle: Bundle) -> None:
    for graph in GRAPHS:
        data = bundle.file(f'{graph}.onnx').read_bytes()
        ranges = input_ranges(graph, bundle.manifest)
        plan = build_plan(trt, data, ranges, CAPABILITIES, graph, no_progress)
        assert len(plan) > 10_000, graph


def test_default_bundle_builds() -> None:
    build_all(load_bundle('street-lite0'))


@pytest.mark.parametrize('precision', ['fp32', 'fp16', 'bf16'])
def test_networks_of_vit_b_build(precision: Any) -> None:
    """ViT-B's width, one block a network."""
    build_all(vit_bundle(precision))


@pytest.mark.skipif('DELTAWORLD_FULL_VITB' not in os.environ,
                    reason='takes minutes: set DELTAWORLD_FULL_VITB=1; the test above is its twin')
@pytest.mark.parametrize('precision', ['fp32', 'fp16', 'bf16'])
@pytest.mark.timeout(1800)
def test_all_blocks_of_vit_b_build(precision: Any) -> None:
    build_all(vit_bundle(precision, layers=12))


def test_bundle_of_compact_networks_builds() -> None:
    bundle = load_bundle(network_bundle())
    for graph in ('observe', 'decode'):
        data = bundle.file(f'{graph}.onnx').read_bytes()
        ranges = input_ranges(graph, bundle.manifest)
        assert build_plan(trt, data, ranges, CAPABILITIES[:1], graph, no_progress)


@pytest.mark.parametrize('shipped', [False, True])
def test_only_inputs_and_outputs_are_uint8(shipped: bool) -> None:
    """Another TensorRT than the one tried here may refuse more than it."""
    bundle = load_bundle('street-lite0' if shipped else network_bundle())
    for graph in ('observe', 'decode'):
        model = onnx.load(bundle.file(f'{graph}.onnx'))
        outputs = {item.name for item in model.graph.output}
        made = {node.output[0] for node in model.graph.node if node.op_type == 'Cast'
                and node.attribute[0].i == onnx.TensorProto.UINT8}
        taken = {node.op_type for node in model.graph.node if 'image' in node.input}
        assert made <= outputs and bool(made) == (graph == 'decode')
        assert taken <= {'Cast', 'Shape'} and ('Cast' in taken) == (graph == 'observe')


def test_progress_is_told() -> None:
    bundle = load_bundle('street-lite0')
    steps: list[tuple[str, int, int]] = []
    build_plan(trt, bundle.file('observe.onnx').read_bytes(),
               input_ranges('observe', bundle.manifest), ('8.6',), 'observe',
               lambda phase, step, count: steps.append((phase, step, count)))
    assert steps and all(1 <= step <= count for _, step, count in steps)
    assert all(phase.startswith('observe: ') for phase, _, _ in steps)


def test_graphs_that_cannot_be_built_are_one_reason(tmp_path: Path) -> None:
    ranges = input_ranges('observe', load_bundle('street-lite0').manifest)
    node = onnx.helper.make_node('Unheard', ['image'], ['features'], domain='of')
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node], 'g', [info('image', onnx.TensorProto.FLOAT, [1, 3])],
        [info('features', onnx.TensorProto.FLOAT, [1, 3])])
    with pytest.raises(EngineUnavailable, match='cannot parse the graph: .*Unheard') as caught:
        build_plan(trt, onnx.helper.make_model(graph).SerializeToString(), ranges, ('8.6',), 'g',
                   no_progress)
    assert '\n' not in str(caught.value)
    data = load_bundle('street-lite0').file('observe.onnx').read_bytes()
    with pytest.raises(EngineUnavailable, match='no GPU of compute capability 5.2'):
        build_plan(trt, data, ranges, ('5.2',), 'g', no_progress)


def test_library_is_found_by_any_of_its_names() -> None:
    assert library_name(find_library()).split()[0] in ('tensorrt', 'tensorrt_rtx')
