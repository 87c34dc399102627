# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Graphs of a few bytes that ask for gigabytes are refused before any engine reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.bundle.constant_sizes import check_sizes
from deltaworld_ros.errors import UserError

INT, FLOAT = np.int64, np.float32
SIDE = [40_000, 40_000]
LARGE: list[tuple[str, list[Any]]] = [
    ('ConstantOfShape', [np.array(SIDE, INT)]),
    ('ConstantOfShape', [np.array([10**9], INT)]),
    ('ConstantOfShape', [np.array([2**62, 2**62], INT)]),
    ('Expand', [None, np.array(SIDE, INT)]),
    ('Tile', [None, np.array([1, *SIDE], INT)]),
    ('Resize', [None, None, None, np.array([1, 1, *SIDE], INT)]),
    ('Resize', [None, None, np.array([1, 1, 4e4, 4e4], FLOAT)]),
    ('Resize', [None, np.array([1, 1, 4e4, 4e4], FLOAT)]),
    ('Upsample', [None, np.array([1, 1, 4e4, 4e4], FLOAT)]),
    ('Range', [np.array(0, INT), np.array(10**9, INT), np.array(1, INT)]),
    ('Range', [np.array(0, FLOAT), np.array(1, FLOAT), np.array(1e-12, FLOAT)]),
    ('Pad', [None, np.array([0, 0, *SIDE], INT)]),
    ('OneHot', [None, np.array([10**10], INT), None]),
    ('CenterCropPad', [None, np.array(SIDE, INT)]),
]


def graph(operator: str, inputs: list[Any], how: str, **attributes: Any) -> memoryview:
    """Make a graph of one operator whose constants are held in one of the ways of ONNX."""
    nodes, initializers, names = [], [], []
    for number, values in enumerate(inputs):
        names.append(f'in{number}')
        if values is None:
            continue
        tensor = numpy_helper.from_array(values, names[-1])
        if how == 'fields':
            kind = {INT: TensorProto.INT64, FLOAT: TensorProto.FLOAT}[values.dtype.type]
            tensor = helper.make_tensor(names[-1], kind, values.shape, values.ravel().tolist())
        if how == 'node':
            nodes.append(helper.make_node('Constant', [], [names[-1]], value=tensor))
        else:
            initializers.append(tensor)
    nodes.append(helper.make_node(operator, names, ['out'], **attributes))
    made = helper.make_graph(nodes, 'graph', [], [], initializers)
    return memoryview(made.SerializeToString())


@pytest.mark.parametrize('how', ['raw', 'fields', 'node'])
@pytest.mark.parametrize(('operator', 'inputs'), LARGE)
def test_enormous_constants_are_refused(operator: str, inputs: list[Any], how: str) -> None:
    with pytest.raises(UserError) as caught:
        check_sizes(graph(operator, inputs, how))
    assert str(caught.value).startswith(f'has the operator {operator}, which makes ')


@pytest.mark.parametrize('operator', ['RandomNormal', 'RandomUniform'])
def test_shapes_that_are_attributes(operator: str) -> None:
    check_sizes(graph(operator, [], 'raw', shape=[100, 100]))
    with pytest.raises(UserError, match=f'has the operator {operator}'):
        check_sizes(graph(operator, [], 'raw', shape=SIDE))


def test_constants_as_lists_of_integers() -> None:
    made = helper.make_graph(
        [helper.make_node('Constant', [], ['sizes'], value_ints=SIDE),
         helper.make_node('ConstantOfShape', ['sizes'], ['out'])], 'graph', [], [])
    with pytest.raises(UserError, match='1.6e\\+09 values'):
        check_sizes(memoryview(made.SerializeToString()))


@pytest.mark.parametrize(('operator', 'inputs'), [
    ('ConstantOfShape', [np.array([1000, 1000], INT)]),
    ('ConstantOfShape', [np.zeros(0, INT)]),
    ('Expand', [None, np.array([-1, 128, 7], INT)]), ('Expand', [None, None]),
    ('Resize', [None, None, np.array([1, 1, 4, 4], FLOAT)]),
    ('Pad', [None, np.array([0, -3, 0, 5], INT)]),
    ('Range', [np.array(0, INT), None, np.array(1, INT)]),
    ('Add', [np.array(SIDE, INT), np.array(SIDE, INT)])])
def test_ordinary_constants_pass(operator: str, inputs: list[Any]) -> None:
    for how in ('raw', 'fields', 'node'):
        check_sizes(graph(operator, inputs, how))


def test_bundle_is_refused_in_one_line(tiny_bundle: Path, tmp_path: Path) -> None:
    import shutil

    from deltaworld_ros.bundle import write_manifest

    folder = tmp_path / 'bundle'
    shutil.copytree(tiny_bundle, folder)
    manifest = load_bundle(folder).manifest
    model = onnx.load(folder / 'rollout.onnx')
    model.graph.initializer.append(numpy_helper.from_array(np.array([10**9]), 'sizes'))
    model.graph.node.append(helper.make_node('ConstantOfShape', ['sizes'], ['large']))
    onnx.save(model, folder / 'rollout.onnx')
    write_manifest(folder, manifest)
    with pytest.raises(UserError) as caught:
        load_bundle(folder)
    assert str(caught.value) == (
        f'{folder}/rollout.onnx: has the operator ConstantOfShape, which makes 1e+09 values of a '
        'constant; at most 1e+08 are accepted')


def test_shipped_graphs_pass() -> None:
    load_bundle('street-lite0')
