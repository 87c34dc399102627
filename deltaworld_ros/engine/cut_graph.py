# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Cut an ONNX graph down to what some of its values need, for engines that compute whole graphs.

The file is read as the protocol buffer that it is: robots need no `onnx` package for this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# Field numbers of onnx.proto, which never change.
MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_OUTPUT = 1, 5, 12
NODE_INPUT, NODE_OUTPUT = 1, 2
TENSOR_NAME, VALUE_NAME = 8, 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def cut_graph(model: bytes, wanted: Sequence[str]) -> bytes | None:
    """
    Give the model with the values `wanted` as its outputs, in this order, and nothing else.

    None where the graph has no such values.
    """
    source = memoryview(model)
    graph = next(value for number, value, _ in _fields(source) if number == MODEL_GRAPH)
    nodes = [(set(_strings(value, NODE_INPUT)), set(_strings(value, NODE_OUTPUT)))
             for number, value, _ in _fields(graph) if number == GRAPH_NODE]
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
    for number, value, whole in _fields(graph):
        if number == GRAPH_NODE:
            place += 1
            if place not in kept:
                continue
        elif number == GRAPH_INITIALIZER and needed.isdisjoint(_strings(value, TENSOR_NAME)):
            continue
        elif number == GRAPH_OUTPUT:
            continue
        parts.append(whole)
    # Engines infer the types of outputs that have a name alone.
    parts += [_message(GRAPH_OUTPUT, _message(VALUE_NAME, name.encode())) for name in wanted]
    cut = b''.join(parts)
    return b''.join(
        _message(MODEL_GRAPH, cut) if number == MODEL_GRAPH else whole
        for number, _, whole in _fields(source))


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Give each field of a message: number, value (of those that have a length) and all of it."""
    position = 0
    while position < len(message):
        start = position
        key, position = _varint(message, position)
        length = 0
        if key & 7 == _VARINT:
            _, position = _varint(message, position)
        elif key & 7 == _BYTES:
            length, position = _varint(message, position)
        elif key & 7 in (_FIXED64, _FIXED32):
            position += 8 if key & 7 == _FIXED64 else 4
        else:
            raise ValueError(f'not an ONNX model: wire type {key & 7}')
        value = message[position:position + length]
        position += length
        yield key >> 3, value, message[start:position]


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def _strings(message: memoryview, field: int) -> Iterator[str]:
    return (str(value, 'utf-8') for number, value, _ in _fields(message) if number == field)


def _message(number: int, content: bytes) -> bytes:
    """Write a field that has a length."""
    parts = []
    for value in (number << 3 | _BYTES, len(content)):
        while value >= 0x80:
            parts.append(value & 0x7F | 0x80)
            value >>= 7
        parts.append(value)
    return bytes(parts) + content
