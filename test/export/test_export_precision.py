# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Graphs of half precision keep what float32 computes, on small and on heavy-tailed networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from support.network_bundle import network_bundle, random_networks, small_recipe
from support.vit_bundle import vit_bundle, vit_networks
from torch import nn
from typer.testing import CliRunner

from deltaworld_ros.bundle import Bundle, load_bundle, write_manifest
from deltaworld_ros.cli import app
from deltaworld_ros.engine import Engine, check_parity
from deltaworld_ros.engine.onnxruntime_engine import OnnxRuntimeEngine
from deltaworld_ros.engine.torch_engine import TorchEngine
from deltaworld_ros.export.precision import typed_networks
from deltaworld_ros.export.precision_report import precision_report
from deltaworld_ros.model.networks import save_networks

HALVES = {'fp16': TensorProto.FLOAT16, 'bf16': TensorProto.BFLOAT16}


def engine_for(bundle: Bundle, precision: str) -> Engine:
    """ONNX Runtime's CPU has no bfloat16 products."""
    return TorchEngine(bundle, 1) if precision == 'bf16' else OnnxRuntimeEngine(bundle, 1)


@pytest.mark.parametrize('precision', ['fp16', 'bf16'])
def test_heavy_tailed_networks_of_vit_b_pass_the_gate(precision: Any) -> None:
    """Some channels are a hundred times the others; cosines, labels and depth hold."""
    bundle = vit_bundle(precision)
    report = check_parity(engine_for(bundle, precision), bundle)
    assert report.passed, report


@pytest.mark.parametrize('precision', ['fp16', 'bf16'])
def test_types_are_stated(precision: Any) -> None:
    """Products are of the half type; norms and softmax of float32."""
    for name in ('observe', 'rollout', 'decode'):
        model = onnx.load(vit_bundle(precision).file(f'{name}.onnx'))
        types = {item.name: item.type.tensor_type.elem_type
                 for graph in [onnx.shape_inference.infer_shapes(model).graph]
                 for item in (*graph.value_info, *graph.output)}
        types |= {item.name: item.data_type for item in model.graph.initializer}
        half = HALVES[precision]
        single = [node for node in model.graph.node
                  if node.op_type in ('LayerNormalization', 'Softmax')]
        assert single and all(types[node.output[0]] == TensorProto.FLOAT for node in single)
        for node in model.graph.node:
            # The heads, which have convolutions in decode, and the resizes are float32.
            if node.op_type == 'Gemm' or (node.op_type == 'MatMul' and name != 'decode'):
                assert types[node.output[0]] == half, node.name
        weights = [item for item in model.graph.initializer if np.prod(item.dims) > 100_000]
        assert weights and all(
            item.data_type == half for item in weights if 'head' not in item.name)


def test_batch_norms_are_folded_without_a_trace() -> None:
    networks = random_networks(small_recipe())
    generator = torch.Generator().manual_seed(0)
    for module in (m for part in networks.parts().values() for m in part.modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0.0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
    folded = typed_networks(networks, 'fp32')
    assert not any(isinstance(m, nn.BatchNorm2d)
                   for part in folded.parts().values() for m in part.modules())
    image = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8, generator=generator)
    maps = torch.randn(1, 32, 4, 6, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(
            folded.backbone(image), networks.backbone(image), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(folded.segmentation(maps), networks.segmentation(maps),
                                   rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(folded.depth(maps), networks.depth(maps))


def test_report_covers_every_network() -> None:
    """Float32 differs nowhere, bfloat16 everywhere and little."""
    bundle = vit_bundle('fp16')
    with np.load(bundle.file('golden.npz')) as archive:
        golden = dict(archive)
    networks = vit_networks()
    exact = precision_report(networks, bundle.manifest, 'fp32', golden)
    assert {row.graph for row in exact} == {'observe', 'rollout', 'decode'}
    assert all(row.worst > 0.999999 for row in exact)
    half = precision_report(networks, bundle.manifest, 'bf16', golden)
    blocks = [row for row in half if row.layers.endswith('.0')]
    assert len(blocks) == 4
    # Inside the networks a single patch may be worse than what leaves a graph.
    assert all(0.999 < row.cosine < 1.0 and row.worst > 0.99 for row in blocks)
    outputs = [row for row in half if row.layers.endswith(('features', 'token', 'tokens'))]
    assert len(outputs) == 5
    assert all(0.999 < row.worst <= row.cosine < 1.0 for row in outputs)


def test_scaled_weight_of_a_typed_graph_is_refused(tmp_path: Path) -> None:
    source = vit_bundle('fp16')
    folder = tmp_path / 'wrong'
    folder.mkdir()
    for name in source.manifest.files:
        (folder / name).write_bytes(source.file(name).read_bytes())
    model = onnx.load(folder / 'observe.onnx')
    tensor = max(model.graph.initializer, key=lambda item: np.prod(item.dims))
    values = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array(2 * values, tensor.name))
    onnx.save(model, folder / 'observe.onnx')
    write_manifest(folder, source.manifest)
    wrong = load_bundle(folder)
    assert not check_parity(OnnxRuntimeEngine(wrong, 1), wrong).passed


def test_command_exports_a_file_of_networks(tmp_path: Path) -> None:
    save_networks(random_networks(small_recipe()), tmp_path / 'networks.safetensors')
    result = CliRunner().invoke(app, [
        'export', str(tmp_path / 'networks.safetensors'), '--bundle', str(network_bundle()),
        '--output', str(tmp_path / 'half'), '--precision', 'fp16', '--steps', '2',
        '--json', str(tmp_path / 'report.json')])
    assert result.exit_code == 0, (result.output, result.exception)
    manifest = load_bundle(tmp_path / 'half').manifest
    assert manifest.steps == 2
    assert manifest.present_shares == load_bundle(network_bundle()).manifest.present_shares[:2]
    rows = json.loads((tmp_path / 'report.json').read_text())['rows']
    assert min(row['worst'] for row in rows if 'token' in row['layers']) > 0.999
