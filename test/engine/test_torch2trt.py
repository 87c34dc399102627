# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The torch2trt engine on a stand-in for torch2trt, which needs TensorRT and a GPU.

The stand-in takes what torch2trt takes at 4e820ae. As there with `use_onnx`, torch's older
exporter makes an ONNX graph of the module; ONNX Runtime runs it in the place of TensorRT.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from support.network_bundle import network_bundle, trained_like
from support.tracing import untraced
from torch import Tensor

from deltaworld_ros.bundle import Bundle, load_bundle, write_manifest
from deltaworld_ros.bundle.time_tables import time_tables
from deltaworld_ros.engine import check_parity, load_engine, torch2trt_engine
from deltaworld_ros.engine.onnxruntime_engine import OnnxRuntimeEngine
from deltaworld_ros.errors import UserError
from deltaworld_ros.model.networks import save_networks

Shapes = list[tuple[int, ...]]


class Converted:
    """What torch2trt gives: a module for inputs of the shapes that it was traced with."""

    def __init__(self, graph: bytes, names: list[str], shapes: Shapes, error: float) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(graph, options)
        self.names, self.shapes, self.error = names, shapes, error

    def __call__(self, *inputs: Tensor) -> Any:
        assert [tuple(value.shape) for value in inputs] == self.shapes
        assert all(value.dtype == torch.float32 and value.is_contiguous() for value in inputs)
        outputs = self.session.run(None, {
            name: value.numpy() for name, value in zip(self.names, inputs, strict=True)
            if name in {one.name for one in self.session.get_inputs()}})
        found = tuple(torch.from_numpy(value) for value in outputs)
        if self.error:
            found = tuple(value + self.error * torch.randn_like(value)
                          if value.is_floating_point() else value for value in found)
        return found if len(found) > 1 else found[0]


class StandIn(ModuleType):
    """The package; `error` is that of its FP16 engines, `calls` the precisions asked for."""

    def __init__(self, error: float) -> None:
        super().__init__('torch2trt')
        self.error = error
        self.calls: list[bool] = []

    def torch2trt(
            self, module: torch.nn.Module, inputs: list[Tensor], input_names: list[str],
            output_names: list[str], fp16_mode: bool, max_workspace_size: int,
            keep_network: bool, use_onnx: bool, onnx_opset: int) -> Converted:
        assert use_onnx and not module.training
        self.calls.append(fp16_mode)
        with torch.no_grad():
            outputs = module(*inputs)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        assert len(outputs) == len(output_names)
        # TensorRT has uint8 at inputs and outputs only, and torch2trt not even there.
        assert {value.dtype for value in (*inputs, *outputs)} <= {torch.float32, torch.int32}
        file = io.BytesIO()
        with untraced():
            torch.onnx.export(
                module, tuple(inputs), file, input_names=input_names, output_names=output_names,
                opset_version=onnx_opset, dynamo=False)
        return Converted(file.getvalue(), input_names, [tuple(value.shape) for value in inputs],
                         self.error if fp16_mode else 0.0)


@pytest.fixture(scope='module')
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Put the networks into their bundle, as `deltaworld convert` does."""
    folder = tmp_path_factory.mktemp('torch2trt') / 'bundle'
    shutil.copytree(network_bundle(), folder)
    save_networks(trained_like(), folder / 'networks.safetensors')
    write_manifest(folder, load_bundle(folder).manifest)
    return load_bundle(folder)


def stand_in(monkeypatch: pytest.MonkeyPatch, error: float) -> StandIn:
    package = StandIn(error)
    monkeypatch.setitem(sys.modules, 'torch2trt', package)
    monkeypatch.setattr(torch2trt_engine, 'gpu', lambda: torch.device('cpu'))
    return package


def test_half_precision_is_taken_where_it_passes_the_gate(
        bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    package = stand_in(monkeypatch, error=0.0)
    lines: list[str] = []
    engine = load_engine(bundle, 'torch2trt', threads=1, log=lines.append)
    assert package.calls == [True] * 3
    assert 'engine torch2trt (fp16) chosen' in lines[-1]
    assert check_parity(engine, bundle).passed
    m, random = bundle.manifest, np.random.default_rng(0)
    features = random.standard_normal((m.num_patches, m.feature_size)).astype(np.float32)
    other = OnnxRuntimeEngine(bundle, threads=1)
    # Fewer and more futures than it was converted for, and more samples.
    for futures in (1, 2 * m.num_futures + 1):
        tokens = random.standard_normal((futures, m.steps, m.token_size)).astype(np.float32)
        weights = np.full(futures, 1 / futures, np.float32)
        ours, theirs = (
            one.decode(one.features_from_host(features), tokens, weights,
                       ('labels', 'fused_labels', 'depth')) for one in (engine, other))
        for name in ('labels', 'fused_labels'):
            assert ours[name].dtype == np.uint8
            assert (ours[name] == theirs[name]).mean() > 0.99
        assert np.median(np.abs(ours['depth'] / theirs['depth'] - 1)) < 0.01
    samples = m.num_samples + 3
    tokens = random.standard_normal((m.context_length, m.token_size)).astype(np.float32)
    tables = time_tables(np.arange(1 - m.context_length, m.steps + 1) * m.stride,
                         m.rotary_frequencies)
    noise = 0.02 * random.standard_normal((samples, m.steps, m.noise_size)).astype(np.float32)
    rolled = [one.rollout(tokens, *tables, noise) for one in (engine, other)]
    np.testing.assert_allclose(*rolled, atol=2e-2)
    engine.close()


def test_the_gate_refuses_wrong_half_precision(
        bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    package = stand_in(monkeypatch, error=0.5)
    lines: list[str] = []
    engine = load_engine(bundle, 'torch2trt', threads=1, log=lines.append)
    assert package.calls == [True] * 3 + [False] * 3
    assert any('engine torch2trt-fp16 refused: differs from golden.npz' in line for line in lines)
    assert 'engine torch2trt (fp32) chosen' in lines[-1]
    engine.close()


def test_what_is_missing_is_one_line_and_auto_leaves_it_alone(
        bundle: Bundle, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'torch2trt', None)
    with pytest.raises(UserError, match='torch2trt is not installed; images for Jetson'):
        load_engine(bundle, 'torch2trt-fp32', threads=1)
    package = stand_in(monkeypatch, error=0.0)
    with pytest.raises(UserError, match=r'has no networks\.safetensors.*deltaworld convert'):
        load_engine(load_bundle(tiny_bundle), 'torch2trt', threads=1)
    load_engine(load_bundle(tiny_bundle), threads=1).close()
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, 'torch2trt', package)
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match='needs a GPU that torch can use'):
            load_engine(bundle, 'torch2trt', threads=1)
    assert not package.calls
