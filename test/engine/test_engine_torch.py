# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The torch engine: every operator equals ONNX Runtime's, and it runs whole bundles."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.tiny_bundle import fading_frames

from deltaworld_ros.bundle import load_bundle, write_manifest
from deltaworld_ros.engine import EngineUnavailable, check_parity, load_engine
from deltaworld_ros.engine.onnxruntime_engine import OnnxRuntimeEngine
from deltaworld_ros.errors import UserError

torch = pytest.importorskip('torch')
torch_engine = pytest.importorskip('deltaworld_ros.engine.torch_engine')

RNG = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


CASES: list[tuple[str, list[np.ndarray | None], dict[str, Any]]] = [
    ('Add', [floats(2, 3), floats(3)], {}),
    ('Sub', [floats(2, 3), floats(2, 1)], {}),
    ('Mul', [floats(2, 3), floats(1)], {}),
    ('Div', [floats(2, 3), 1 + floats(2, 3) ** 2], {}),
    ('Div', [ints(7, 9), ints(2, 3)], {}),
    ('Neg', [floats(2, 3)], {}),
    ('Erf', [floats(2, 3)], {}),
    ('Relu', [floats(2, 3)], {}),
    ('Sigmoid', [floats(2, 3)], {}),
    ('Equal', [ints(1, 2, 3), ints(1, 0, 3)], {}),
    ('Cast', [floats(2, 3) * 100], {'to': TensorProto.FLOAT16}),
    ('Cast', [ints(0, 3, 255)], {'to': TensorProto.UINT8}),
    ('Clip', [floats(4, 5), np.float32(-0.5), np.float32(0.5)], {}),
    ('Clip', [floats(4, 5), None, np.float32(0.5)], {}),
    ('ArgMax', [floats(2, 5, 3)], {'axis': 1, 'keepdims': 0}),
    ('ArgMax', [floats(2, 5, 3)], {'axis': -1}),
    ('CumSum', [floats(2, 5, 3), np.array(1)], {}),
    ('AveragePool', [floats(2, 3, 8, 6)], {'kernel_shape': [2, 2], 'strides': [2, 2]}),
    ('BatchNormalization',
     [floats(2, 3, 4), floats(3), floats(3), floats(3), floats(3) ** 2], {'epsilon': 1e-3}),
    ('BatchNormalization', [floats(2, 3, 4), floats(3), floats(3), floats(3), floats(3) ** 2], {}),
    ('Concat', [floats(2, 3), floats(2, 1)], {'axis': -1}),
    ('Conv', [floats(1, 4, 9, 7), floats(6, 4, 3, 3), floats(6)],
     {'pads': [1, 1, 1, 1], 'strides': [2, 1], 'dilations': [1, 1], 'group': 1}),
    ('Conv', [floats(1, 4, 9, 7), floats(4, 1, 3, 3)],
     {'pads': [0, 1, 2, 3], 'strides': [2, 2], 'dilations': [1, 1], 'group': 4}),
    ('Conv', [floats(1, 4, 9, 7), floats(6, 4, 3, 3)], {}),
    ('Expand', [floats(3, 1), ints(2, 1, 4)], {}),
    ('Gather', [floats(2, 5, 3), np.array(-1)], {'axis': 1}),
    ('Gather', [floats(2, 5, 3), ints(4, -5, 0)], {'axis': 1}),
    ('Gather', [floats(5, 3), np.array([[0, 4], [1, -2]])], {}),
    ('Gemm', [floats(2, 3), floats(4, 3), floats(4)], {'transB': 1, 'alpha': 0.5, 'beta': 2.0}),
    ('Gemm', [floats(3, 2), floats(3, 4)], {'transA': 1}),
    ('LayerNormalization', [floats(2, 5, 8), floats(8), floats(8)], {'epsilon': 1e-5}),
    ('LayerNormalization', [floats(2, 5, 8), floats(5, 8)], {'axis': 1, 'epsilon': 1e-3}),
    ('LayerNormalization', [1e-3 * floats(2, 8), floats(8)], {}),
    ('MatMul', [floats(2, 1, 4, 3), floats(5, 3, 2)], {}),
    ('ReduceL2', [floats(2, 5, 3), ints(-1)], {}),
    ('ReduceMean', [floats(2, 5, 3), ints(1)], {'keepdims': 0}),
    ('ReduceMean', [floats(2, 5, 3), ints(-1, 0)], {}),
    ('ReduceSum', [floats(2, 5, 3), ints(1, 2)], {'keepdims': 1}),
    ('Reshape', [floats(2, 6), ints(0, -1, 3)], {}),
    ('Reshape', [floats(2, 6), ints(3, -1)], {'allowzero': 1}),
    ('Resize', [floats(2, 3, 4, 5), None, np.array([1, 1, 2.5, 3], np.float32)],
     {'mode': 'linear'}),
    ('Resize', [floats(2, 3, 8, 6), None, None, ints(2, 3, 5, 13)], {'mode': 'linear'}),
    ('Shape', [floats(2, 5, 3)], {}),
    ('Shape', [floats(2, 5, 3)], {'start': 1, 'end': 2}),
    ('Shape', [floats(2, 5, 3)], {'start': -1}),
    ('Slice', [floats(4, 5, 6), ints(1, -3), ints(2 ** 62, -1), ints(0, 2)], {}),
    ('Slice', [floats(4, 5), ints(0, 1), ints(3, 4)], {}),
    ('Slice', [floats(4, 9), ints(1), ints(8), ints(-1), ints(3)], {}),
    ('Softmax', [floats(2, 5, 3)], {'axis': 1}),
    ('Softmax', [floats(2, 5, 3)], {}),
    ('Split', [floats(2, 6)], {'axis': 1, 'num_outputs': 2}),
    ('Split', [floats(7, 2)], {'num_outputs': 3}),
    ('Transpose', [floats(2, 5, 3)], {'perm': [2, 0, 1]}),
    ('Transpose', [floats(2, 5, 3)], {}),
    ('Unsqueeze', [floats(2, 3), ints(0, -1)], {}),
]


@pytest.mark.parametrize('kind, inputs, attributes', CASES,
                         ids=[f'{case[0]}-{index}' for index, case in enumerate(CASES)])
@pytest.mark.parametrize('constant', [False, True])
def test_operator_equals_onnx_runtime(
        tmp_path: Path, kind: str, inputs: list[Any], attributes: dict[str, Any],
        constant: bool) -> None:
    names = [f'in{i}' if value is not None else '' for i, value in enumerate(inputs)]
    outputs = [f'out{i}' for i in range(attributes.get('num_outputs', 1))]
    arrays = {name: np.asarray(value)
              for name, value in zip(names, inputs, strict=True) if name}
    # In bundles, all but the first input are constants (weights, shapes, axes) or all are values.
    fixed = {name: array for name, array in arrays.items() if constant or name != 'in0'}
    if kind in ('Add', 'MatMul', 'Concat') and not constant:
        fixed = {}
    feeds = {name: array for name, array in arrays.items() if name not in fixed}
    element = helper.np_dtype_to_tensor_dtype
    nodes = [helper.make_node(kind, names, outputs, **attributes)]
    if constant:
        feeds = {'x': np.ones(1, np.float32)}
    graph = helper.make_graph(
        nodes, kind,
        [helper.make_tensor_value_info(name, element(array.dtype), array.shape)
         for name, array in feeds.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in fixed.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=9)
    onnx.save(model, tmp_path / 'graph.onnx')
    model = onnx.shape_inference.infer_shapes(model)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=['CPUExecutionProvider'])
    expected = session.run(outputs, feeds)
    ours = torch_engine.TorchGraph(
        'graph.onnx', (tmp_path / 'graph.onnx').read_bytes(), torch.device('cpu'))
    actual = ours.run(outputs, **{name: torch.tensor(array) for name, array in feeds.items()})
    for wanted, given in zip(expected, actual, strict=True):
        assert tuple(given.shape) == wanted.shape
        assert given.numpy().dtype == wanted.dtype
        np.testing.assert_allclose(given.numpy(), wanted, atol=2e-6, rtol=1e-5)


def test_whole_bundle(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    lines: list[str] = []
    engine = load_engine(bundle, 'torch', threads=1, log=lines.append)
    assert 'engine torch' in lines[-1] and 'chosen' in lines[-1]
    report = check_parity(engine, bundle)
    assert report.passed
    other = OnnxRuntimeEngine(bundle, threads=1)
    frame = fading_frames(bundle.manifest, 1)[0]
    frame.flags.writeable = False
    mine, theirs = engine.observe(frame, None), other.observe(frame, None)
    np.testing.assert_allclose(
        engine.features_to_host(mine[0]), other.features_to_host(theirs[0]), atol=1e-5)
    np.testing.assert_allclose(mine[2], theirs[2], atol=1e-5)
    engine.close()


def test_only_what_outputs_need_is_computed(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    graph = torch_engine.TorchGraph(
        'decode.onnx', bundle.read('decode.onnx'), torch.device('cpu'))
    m = bundle.manifest
    inputs = {
        'features': torch.rand(1, m.num_patches, m.feature_size),
        'tokens': torch.rand(1, 5, m.steps, m.token_size), 'weights': torch.full((1, 5), 0.2)}
    graph.run(('fused_depth',), **inputs)
    graph.run(('fused_labels', 'labels', 'confidence'), **inputs)
    few, many = (len(plan) for plan in graph._plans.values())
    assert few < many < len(graph._steps)


def test_unknown_operator_is_one_reason(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))
    model = onnx.load(folder / 'rollout.onnx')
    model.graph.node.append(helper.make_node('Tan', ['noise'], ['unused']))
    onnx.save(model, folder / 'rollout.onnx')
    write_manifest(folder, load_bundle(tiny_bundle).manifest)
    with pytest.raises(EngineUnavailable, match='rollout.onnx has operators .* lacks: Tan'):
        torch_engine.TorchEngine(load_bundle(folder))


def test_resize_of_another_kind_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node('Resize', ['x', '', 'scales'], ['y'], mode='nearest')], 'g',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, (1, 1, 2, 2))],
        [onnx.ValueInfoProto(name='y')],
        [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), 'scales')])
    onnx.save(helper.make_model(graph), tmp_path / 'graph.onnx')
    ours = torch_engine.TorchGraph(
        'graph.onnx', (tmp_path / 'graph.onnx').read_bytes(), torch.device('cpu'))
    with pytest.raises(UserError, match='resizes linearly'):
        ours.run(('y',), x=torch.zeros(1, 1, 2, 2))
