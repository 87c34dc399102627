# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Refuse graphs whose constants ask for enormous tensors, before any engine makes them.

A few bytes can ask for gigabytes, and engines compute what depends on no input when they load.
What depends on inputs, or on more than one node, is bounded by the trial (`engine/trial.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle.protobuf import all_integers, fields, integers, messages, texts
from deltaworld_ros.errors import UserError

MAX_VALUES = 100_000_000
# A constant of more values is no size.
_MAX_SIZES = 64
# Field numbers of onnx.proto, as in graph_file.py.
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR, _NODE_ATTRIBUTE = 1, 2, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_TENSOR, _ATTRIBUTE_INTEGERS = 1, 5, 8
_TENSOR_DIMS, _TENSOR_KIND, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
# Kinds of tensors: the type of their raw bytes, and the field that holds their values otherwise.
_KINDS = {1: ('<f4', 4), 6: ('<i4', 5), 7: ('<i8', 7), 11: ('<f8', 10)}

Values = NDArray[np.float64]
Given = Sequence[Values | None]


def _product(values: Values | None) -> float:
    return 0.0 if values is None else math.prod(max(1.0, value) for value in values)


def _of(index: int) -> Callable[[Given], float]:
    return lambda given: _product(given[index] if index < len(given) else None)


def _resize(given: Given) -> float:
    return max(_of(3)(given), _of(2)(given), _of(1)(given) if len(given) == 2 else 0.0)


def _range(given: Given) -> float:
    if any(value is None or value.size != 1 for value in given[:3]) or len(given) < 3:
        return 0.0
    first, last, step = (float(value[0]) for value in given[:3] if value is not None)
    return (last - first) / step if step else math.inf


def _pad(given: Given) -> float:
    pads = given[1] if len(given) > 1 else None
    if pads is None or pads.size % 2:
        return 0.0
    return _product(1 + pads[:pads.size // 2] + pads[pads.size // 2:])


# What an operator makes of constant inputs at least, in values.
_ASKED: dict[str, Callable[[Given], float]] = {
    'ConstantOfShape': _of(0), 'Expand': _of(1), 'Tile': _of(1), 'Resize': _resize,
    'Upsample': _of(1), 'Range': _range, 'Pad': _pad, 'OneHot': _of(1), 'MaxUnpool': _of(2),
    'CenterCropPad': _of(1), 'AffineGrid': _of(1), 'Col2Im': _of(1), 'HannWindow': _of(0),
    'HammingWindow': _of(0), 'BlackmanWindow': _of(0),
    'MelWeightMatrix': lambda given: _of(0)(given) * _of(1)(given)}


def check_sizes(graph: memoryview) -> None:
    """Raise `UserError` where a node of the graph (a GraphProto) asks for too large a tensor."""
    known = {name: values for tensor in messages(graph, _GRAPH_INITIALIZER)
             if (values := _values(tensor)) is not None for name in texts(tensor, _TENSOR_NAME)}
    nodes = list(messages(graph, _GRAPH_NODE))
    for node in nodes:
        for values in _constants(node):
            known.update((name, values) for name in texts(node, _NODE_OUTPUT))
    for node in nodes:
        operator = ''.join(texts(node, _NODE_OPERATOR))
        asked = _ASKED[operator]([known.get(name) for name in texts(node, _NODE_INPUT)]) \
            if operator in _ASKED else _shape_attribute(node)
        # Written so that NaN is refused.
        if not asked <= MAX_VALUES:
            raise UserError(f'has the operator {operator}, which makes {asked:.3g} values of a '
                            f'constant; at most {MAX_VALUES:.0e} are accepted')


def _constants(node: memoryview) -> list[Values]:
    """Return the values of a Constant node."""
    if list(texts(node, _NODE_OPERATOR)) != ['Constant']:
        return []
    return [values for attribute in messages(node, _NODE_ATTRIBUTE)
            for values in (
                *(_values(tensor) for tensor in messages(attribute, _ATTRIBUTE_TENSOR)),
                _sizes(list(all_integers(attribute, _ATTRIBUTE_INTEGERS))))
            if values is not None and values.size]


def _shape_attribute(node: memoryview) -> float:
    """Return the values of operators such as RandomNormal, whose shape is an attribute."""
    return max((_product(_sizes(list(all_integers(attribute, _ATTRIBUTE_INTEGERS))))
                for attribute in messages(node, _NODE_ATTRIBUTE)
                if list(texts(attribute, _ATTRIBUTE_NAME)) in (['shape'], ['output_shape'])),
               default=0.0)


def _sizes(values: Sequence[float]) -> Values | None:
    return np.array(values, np.float64) if len(values) <= _MAX_SIZES else None


def _values(tensor: memoryview) -> Values | None:
    """Return the values of a small tensor of numbers, None for another."""
    kind = next(integers(tensor, _TENSOR_KIND), 0)
    count = math.prod(all_integers(tensor, _TENSOR_DIMS))
    if kind not in _KINDS or not 0 <= count <= _MAX_SIZES:
        return None
    raw_type, number = _KINDS[kind]
    if raw_type in ('<i4', '<i8'):
        single = list(all_integers(tensor, number))
        if single:
            return _sizes(single)
        data = b''.join(messages(tensor, _TENSOR_RAW))
    else:
        data = b''.join(bytes(field.value) for field in fields(tensor)
                        if field.number in (number, _TENSOR_RAW)
                        and not isinstance(field.value, int))
    if len(data) % np.dtype(raw_type).itemsize:
        raise ValueError('a tensor has bytes that are no value')
    return np.frombuffer(data, raw_type).astype(np.float64)
