# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""INT8 goes into the products of MLPs alone; ModelOpt itself runs where it is installed."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support.vit_bundle import vit_bundle, vit_networks
from typer.testing import CliRunner

from deltaworld_ros.bundle import Bundle, load_bundle
from deltaworld_ros.bundle.lead_outputs import lead_outputs
from deltaworld_ros.cli import app
from deltaworld_ros.engine import check_parity
from deltaworld_ros.engine.onnxruntime_engine import OnnxRuntimeEngine
from deltaworld_ros.errors import UserError
from deltaworld_ros.export import quantise
from deltaworld_ros.export.quantise import QUANTISED, find_quantiser, mlp_products, quantise_mlps

# One block each: two layers in the backbone, three in the encoder, whose two pairs are one batch,
# two in the predictor and three in the decoder, for each of two steps.
PRODUCTS = {'observe': 2 + 3, 'rollout': 2 * 2, 'decode': 2 * 3}
# The exporter takes minutes where others use the processor too.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Copy the bundle, whose files are overwritten."""
    source = vit_bundle('fp16')
    for name in (*source.manifest.files, 'bundle.yaml'):
        (tmp_path / name).write_bytes((source.path / name).read_bytes())
    return tmp_path


@pytest.mark.parametrize('precision', ['fp32', 'fp16'])
def test_products_of_mlps_are_found_by_their_weights(precision: Any) -> None:
    bundle = vit_bundle(precision)
    for graph, count in PRODUCTS.items():
        model = onnx.load(bundle.file(f'{graph}.onnx'))
        names = mlp_products(model, vit_networks(), precision)
        assert len(names) == len(set(names)) == count, graph
        # Attention's projections are square here, and none of them is among these.
        shapes = {item.name: tuple(item.dims) for item in model.graph.initializer}
        taken = {shapes[node.input[1]] for node in model.graph.node
                 if node.name in names and node.input[1] in shapes}
        assert taken <= {(768, 3072), (3072, 768), (768, 2048), (2048, 768)}


def test_modelopt_gets_those_products_and_the_golden_inputs(
        folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def quantiser(path: str, **options: Any) -> None:
        calls.append({'path': path, **options})
    monkeypatch.setattr(quantise, 'find_quantiser', lambda: quantiser)
    bundle = vit_bundle('fp16')
    manifest = quantise_mlps(folder, bundle.manifest, vit_networks(), 'fp16')
    assert [Path(call['path']).stem for call in calls] == list(QUANTISED)
    assert manifest.files == bundle.manifest.files
    with np.load(folder / 'golden.npz') as golden:
        frames, tokens = golden['frames'], golden['future_tokens']
    assert np.array_equal(calls[0]['calibration_data']['image'], frames)
    assert np.array_equal(calls[1]['calibration_data']['tokens'], tokens)
    for call, graph in zip(calls, QUANTISED, strict=True):
        model = onnx.load(call['path'])
        assert set(call['calibration_data']) == {item.name for item in model.graph.input}
        taken = [node.name for node in model.graph.node
                 if any(re.match(rule, node.name) for rule in call['nodes_to_quantize'])]
        assert len(taken) == PRODUCTS[graph]


def test_a_graph_without_mlps_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantise, 'find_quantiser', lambda: None)
    # No weight of the half precision graphs is one of float32.
    with pytest.raises(UserError, match='observe.onnx has no MLP'):
        quantise_mlps(folder, vit_bundle('fp16').manifest, vit_networks(), 'fp32')


def test_without_modelopt_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'modelopt', None)
    monkeypatch.setitem(sys.modules, 'modelopt.onnx.quantization', None)
    with pytest.raises(UserError, match=r'deltaworld_ros\[quantise\]'):
        find_quantiser()


def test_bfloat16_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [
        'export', 'street-lite0', '--mlp', 'int8', '--precision', 'bf16', '--output',
        str(tmp_path / 'new')])
    assert isinstance(result.exception, UserError) and 'not bf16' in str(result.exception)


@pytest.mark.skipif(importlib.util.find_spec('modelopt') is None,
                    reason='needs NVIDIA ModelOpt (the extra quantise)')
def test_modelopt_quantises_nothing_else(folder: Path) -> None:
    quantise_mlps(folder, vit_bundle('fp16').manifest, vit_networks(), 'fp16')
    bundle: Bundle = load_bundle(folder)
    for graph, count in PRODUCTS.items():
        model = onnx.load(bundle.file(f'{graph}.onnx'))
        makers = {output: node for node in model.graph.node for output in node.output}
        products = [node for node in model.graph.node if node.op_type == 'MatMul' and any(
            name in makers and makers[name].op_type == 'DequantizeLinear' for name in node.input)]
        assert len(products) == (count if graph in QUANTISED else 0)
        if graph == 'decode':
            assert set(lead_outputs(bundle.manifest.steps)) <= set(makers)
    # It runs; whether networks with such outliers pass the gate is not promised.
    assert check_parity(OnnxRuntimeEngine(bundle, 1), bundle).figures
