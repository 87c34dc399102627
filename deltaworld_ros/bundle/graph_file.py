# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Check the graphs of a bundle against its manifest, before any engine reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from deltaworld_ros.bundle.constant_sizes import check_sizes
from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.bundle.motion import VALUES as MOTION_VALUES
from deltaworld_ros.bundle.protobuf import (
    fields,
    integers,
    messages,
    texts,
    write_field,
)
from deltaworld_ros.errors import UserError

# Field numbers of onnx.proto, which never change.
MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 1, 5, 11, 12
_GRAPH_SPARSE_INITIALIZER = 15
NODE_INPUT, NODE_OUTPUT, _NODE_OPERATOR, _NODE_ATTRIBUTE = 1, 2, 4, 5
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES = 22, 23
TENSOR_NAME, _TENSOR_RAW_DATA, _TENSOR_EXTERNAL_DATA, _TENSOR_LOCATION = 8, 9, 13, 14
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR = 1, 2, 1
_TENSOR_TYPE_KIND, _TENSOR_TYPE_SHAPE = 1, 2
_SHAPE_DIMENSION, _DIMENSION_SIZE = 1, 1
_FLOAT, _UINT8 = 1, 2

_PLACE = re.compile('[0-9]{1,12}')   # in a file, in bytes

# They can run for ever.
_CONTROL_FLOW = {'Loop', 'Scan', 'If', 'SequenceMap'}

# A size, or None for one that must be able to vary; 0 for the batch, which varies or is one.
Shape = tuple[int | None, ...]
_BATCH = 0


class Value(NamedTuple):
    """What a graph must take or return."""

    shape: Shape
    kind: int = _FLOAT
    optional: bool = False


def check_graph(name: str, content: bytes, manifest: Manifest) -> None:
    """
    Check one of the graphs by name; raise `UserError` in one line.

    It must be an ONNX model without control flow and enormous constants, whose inputs and outputs
    have the names, types and sizes that the manifest says.
    """
    try:
        graph = _graph(content)
        _check_operators(graph)
        check_sizes(graph)
        inputs, outputs = expected_values(name, manifest)
        _check_values('input', list(messages(graph, GRAPH_INPUT)), inputs)
        _check_values('output', list(messages(graph, GRAPH_OUTPUT)), outputs)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f'is no ONNX model: {str(error)[:200]}') from None


def external_files(content: bytes) -> set[str]:
    """Return the names of the files that hold weights of a graph; raise `UserError` or nothing."""
    try:
        return {_external(tensor)['location'] for tensor in messages(
            _graph(content), GRAPH_INITIALIZER) if _is_external(tensor)}
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f'is no ONNX model: {str(error)[:200]}') from None


def with_weights(content: bytes, read: Callable[[str], bytes]) -> bytes:
    """Return a graph with the weights that it had in other files, which `read` gives."""
    model = memoryview(content)
    parts: list[bytes | memoryview] = []
    for field in fields(_graph(content)):
        if field.number == GRAPH_INITIALIZER and isinstance(field.value, memoryview) \
                and _is_external(field.value):
            parts.append(write_field(GRAPH_INITIALIZER, _with_data(field.value, read)))
        else:
            parts.append(field.whole)
    graph = write_field(MODEL_GRAPH, b''.join(parts))
    return b''.join(graph if field.number == MODEL_GRAPH else field.whole
                    for field in fields(model))


def expected_values(
        graph: str, manifest: Manifest) -> tuple[dict[str, Value], dict[str, Value]]:
    """Return the inputs and the outputs that a graph must have, by name."""
    m = manifest
    features = Value((_BATCH, m.num_patches, m.feature_size))
    token = Value((_BATCH, m.token_size))
    if graph == 'observe':
        image = Value((_BATCH, m.image_height, m.image_width, 3), _UINT8)
        return ({'image': image, 'previous_features': features},
                {'features': features, 'delta_token': token, 'anchor_token': token})
    if graph == 'rollout':
        table = Value((_BATCH, m.context_length + m.steps, len(m.rotary_frequencies)))
        motion = {'motion': Value((_BATCH, m.context_length + m.steps, MOTION_VALUES))}
        return ({'tokens': Value((_BATCH, m.context_length, m.token_size)), 'rotary_cos': table,
                 'rotary_sin': table, 'noise': Value((_BATCH, None, m.steps, m.noise_size)),
                 **(motion if m.motion else {})},
                {'future_tokens': Value((_BATCH, None, m.steps, m.token_size))})
    if graph == 'paint':
        return ({'features': features},
                {'picture': Value((_BATCH, m.image_height, m.image_width, 3), _UINT8)})
    each = (_BATCH, None, m.steps, m.map_height, m.map_width)
    fused = (_BATCH, m.steps + 1, m.map_height, m.map_width)
    return ({'features': features, 'tokens': Value((_BATCH, None, m.steps, m.token_size)),
             'weights': Value((_BATCH, None))},
            {'labels': Value(each, _UINT8), 'depth': Value(each),
             'fused_labels': Value(fused, _UINT8), 'fused_depth': Value(fused),
             'confidence': Value(fused),
             'future_features': Value(
                 (_BATCH, None, m.steps, m.num_patches, m.feature_size), optional=True)})


def _graph(content: bytes) -> memoryview:
    model = memoryview(content)
    # Protocol buffers join repeated messages: what is checked must be all there is.
    graphs = list(messages(model, MODEL_GRAPH))
    if len(graphs) != 1:
        raise UserError(f'is no ONNX model: it has {len(graphs)} graphs')
    if any(True for _ in messages(model, _MODEL_FUNCTIONS)):
        raise UserError('has functions of its own, which are not accepted: inline them')
    return graphs[0]


def _check_operators(graph: memoryview) -> None:
    tensors: list[memoryview] = []
    for node in messages(graph, GRAPH_NODE):
        operators = set(texts(node, _NODE_OPERATOR))
        for attribute in messages(node, _NODE_ATTRIBUTE):
            numbers = {field.number for field in fields(attribute)}
            if numbers & {_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS}:
                operators &= _CONTROL_FLOW   # whatever it is called
                raise UserError(f'has control flow ({", ".join(operators) or "a graph in a node"})'
                                ', which could run for ever and is not accepted')
            if numbers & {_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES}:
                raise UserError('has sparse tensors, which are not accepted')
            tensors += [*messages(attribute, _ATTRIBUTE_TENSOR),
                        *messages(attribute, _ATTRIBUTE_TENSORS)]
        if operators & _CONTROL_FLOW:
            raise UserError(f'has control flow ({", ".join(operators)}), which could run for ever '
                            'and is not accepted')
    if any(True for _ in messages(graph, _GRAPH_SPARSE_INITIALIZER)):
        raise UserError('has sparse tensors, which are not accepted')
    if any(map(_is_external, messages(graph, GRAPH_INITIALIZER))):
        raise UserError('has weights in another file, which are not accepted here')
    if any(map(_is_external, tensors)):
        raise UserError('has a constant in another file; only weights may be there')


def _check_values(side: str, values: list[memoryview], expected: dict[str, Value]) -> None:
    found = {name: value for value in values for name in texts(value, VALUE_NAME)}
    required = {name for name, value in expected.items() if not value.optional}
    missing = sorted(required - set(found))
    if missing:
        raise UserError(f'has no {side} {", ".join(missing)}')
    unknown = sorted(set(found) - set(expected)) if side == 'input' else []
    if unknown:
        raise UserError(f'has the unknown {side} {", ".join(unknown)[:200]}')
    for name, value in expected.items():
        if name in found:
            _check_value(f'{side} {name}', found[name], value)


def _check_value(what: str, value: memoryview, expected: Value) -> None:
    tensors = [tensor for kind in messages(value, _VALUE_TYPE)
               for tensor in messages(kind, _TYPE_TENSOR)]
    for tensor in tensors:
        kinds = set(integers(tensor, _TENSOR_TYPE_KIND))
        if kinds != {expected.kind}:
            name = {_FLOAT: 'float32', _UINT8: 'uint8'}[expected.kind]
            raise UserError(f'{what}: must be of the type {name}')
        for shape in messages(tensor, _TENSOR_TYPE_SHAPE):
            sizes = [next(integers(size, _DIMENSION_SIZE), None)
                     for size in messages(shape, _SHAPE_DIMENSION)]
            if len(sizes) != len(expected.shape) or not all(
                    map(_fits, sizes, expected.shape)):
                raise UserError(f'{what}: has the shape {_shown(sizes)}, and must have '
                                f'{_shown(expected.shape)} by bundle.yaml')


def _fits(size: int | None, expected: int | None) -> bool:
    """Return whether a size in a graph, None where it varies, is as expected."""
    if expected is None:
        return size is None
    if expected == _BATCH:
        return size in (None, 1)
    return size in (None, expected)


def _shown(shape: list[int | None] | Shape) -> str:
    return f'({", ".join("any" if size in (None, _BATCH) else str(size) for size in shape)})'


def _is_external(tensor: memoryview) -> bool:
    return any(field.number == _TENSOR_EXTERNAL_DATA or (
        field.number == _TENSOR_LOCATION and field.value != 0) for field in fields(tensor))


def _external(tensor: memoryview) -> dict[str, str]:
    """Return the entries of a tensor's external data; there is a location."""
    entries = dict(_entries(tensor))
    if 'location' not in entries:
        raise UserError('has weights in another file, and does not say in which')
    return entries


def _entries(tensor: memoryview) -> Iterator[tuple[str, str]]:
    for entry in messages(tensor, _TENSOR_EXTERNAL_DATA):
        yield ''.join(texts(entry, _ENTRY_KEY)), ''.join(texts(entry, _ENTRY_VALUE))


def _with_data(tensor: memoryview, read: Callable[[str], bytes]) -> bytes:
    entries = _external(tensor)
    data = read(entries['location'])
    start, length = (entries.get(key) for key in ('offset', 'length'))
    if not all(value is None or _PLACE.fullmatch(value) for value in (start, length)):
        raise UserError(f'has weights at no place of {entries["location"]!r}')
    first = int(start or '0')
    last = len(data) if length is None else first + int(length)
    if not first <= last <= len(data):
        raise UserError(f'has weights outside of {entries["location"]!r}')
    kept = b''.join(field.whole for field in fields(tensor)
                    if field.number not in (_TENSOR_EXTERNAL_DATA, _TENSOR_LOCATION))
    return kept + write_field(_TENSOR_RAW_DATA, data[first:last])
