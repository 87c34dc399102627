# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Cut an ONNX graph down to what some of its values need, for engines that compute whole graphs.

The file is read as the protocol buffer that it is: robots need no `onnx` package for this.
"""

from __future__ import annotations

from collections.abc import Sequence

from deltaworld_ros.bundle.graph_file import (
    GRAPH_INITIALIZER,
    GRAPH_NODE,
    GRAPH_OUTPUT,
    MODEL_GRAPH,
    NODE_INPUT,
    NODE_OUTPUT,
    TENSOR_NAME,
    VALUE_NAME,
)
from deltaworld_ros.bundle.protobuf import fields, messages, texts, write_field


def cut_graph(model: bytes, wanted: Sequence[str]) -> bytes | None:
    """
    Return the model with the values `wanted` as its outputs, in this order, and nothing else.

    None where the graph has no such values.
    """
    source = memoryview(model)
    [graph] = messages(source, MODEL_GRAPH)
    nodes = [(set(texts(node, NODE_INPUT)), set(texts(node, NODE_OUTPUT)))
             for node in messages(graph, GRAPH_NODE)]
    if not set(wanted) <= set().union(*(outputs for _, outputs in nodes)):
        return None
    needed, kept = set(wanted), set()
    # A graph lists its nodes in the order in which they can be computed.
    for place in range(len(nodes) - 1, -1, -1):
        inputs, outputs = nodes[place]
        if not needed.isdisjoint(outputs):
            kept.add(place)
            needed |= inputs
    parts: list[bytes | memoryview] = []
    place = -1
    for number, value, whole in fields(graph):
        if number == GRAPH_NODE:
            place += 1
            if place not in kept:
                continue
        elif number == GRAPH_INITIALIZER and isinstance(value, memoryview) \
                and needed.isdisjoint(texts(value, TENSOR_NAME)):
            continue
        elif number == GRAPH_OUTPUT:
            continue
        parts.append(whole)
    # Engines infer the types of outputs that have a name alone.
    parts += [write_field(GRAPH_OUTPUT, write_field(VALUE_NAME, name.encode())) for name in wanted]
    cut = b''.join(parts)
    return b''.join(
        write_field(MODEL_GRAPH, cut) if number == MODEL_GRAPH else whole
        for number, _, whole in fields(source))
