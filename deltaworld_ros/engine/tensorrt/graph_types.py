# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rewrite a graph so that only its inputs and outputs are uint8 (needs onnx)."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper


def without_inner_uint8(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Cast uint8 inputs first and uint8 outputs last, as TensorRT wants it, in place.

    Images become float32 and labels are int32 in between: both hold every uint8 exactly.
    """
    graph = model.graph
    for node in graph.node:
        if node.op_type == 'Cast' and node.attribute[0].i == TensorProto.UINT8:
            node.attribute[0].i = TensorProto.INT32
    for item in graph.input:
        if item.type.tensor_type.elem_type == TensorProto.UINT8:
            _rename(graph, item.name, f'{item.name}.float', inputs=True)
            graph.node.insert(0, helper.make_node(
                'Cast', [item.name], [f'{item.name}.float'], to=TensorProto.FLOAT))
    for item in graph.output:
        if item.type.tensor_type.elem_type == TensorProto.UINT8:
            _rename(graph, item.name, f'{item.name}.int', inputs=True)
            _rename(graph, item.name, f'{item.name}.int', inputs=False)
            graph.node.append(helper.make_node(
                'Cast', [f'{item.name}.int'], [item.name], to=TensorProto.UINT8))
    return model


def _rename(graph: onnx.GraphProto, old: str, new: str, inputs: bool) -> None:
    for node in graph.node:
        names = node.input if inputs else node.output
        for index, name in enumerate(names):
            if name == old:
                names[index] = new
