# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The ONNX operators of a bundle's graphs, in torch (needs torch and onnx).

Only what exported bundles contain is here, as ONNX opset 18 defines it. What an attribute asks
for beyond that would show as a wrong result in the parity gate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from onnx import TensorProto
from torch import Tensor

from deltaworld_ros.errors import UserError

# The inputs of a node (None where one is left out) and its attributes give its outputs.
Operator = Callable[[Sequence[Any], dict[str, Any]], 'Tensor | Sequence[Tensor]']

_TYPES = {
    TensorProto.FLOAT: torch.float32, TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.UINT8: torch.uint8, TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64, TensorProto.BOOL: torch.bool}


def _average_pool(x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    return F.avg_pool2d(x[0], a['kernel_shape'], a['strides'])


def _batch_normalization(x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    data, scale, bias, mean, variance = x
    return F.batch_norm(data, mean, variance, scale, bias, eps=a.get('epsilon', 1e-5))


def _clip(x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    data, least, largest = (*x, None, None)[:3]
    return torch.clamp(data, least, largest)


def _conv(x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    data, weight, bias = (*x, None)[:3]
    top, left, bottom, right = a.get('pads', (0, 0, 0, 0))
    padding: tuple[int, int] = (top, left)
    if (top, left) != (bottom, right):
        data, padding = F.pad(data, (left, right, top, bottom)), (0, 0)
    return F.conv2d(data, weight, bias, a.get('strides', 1), padding, a.get('dilations', 1),
                    a.get('group', 1))


def _divide(x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    return torch.div(x[0], x[1], rounding_mode=None if x[0].is_floating_point() else 'trunc')


def _expand(x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    return x[0].expand(torch.broadcast_shapes(x[0].shape, x[1].tolist()))


def _gather(x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    data, indices = x
    axis = a.get('axis', 0) % data.ndim
    flat = indices.flatten().to(data.device) % data.shape[axis]
    shape = (*data.shape[:axis], *indices.shape, *data.shape[axis + 1:])
    return data.index_select(axis, flat).reshape(shape)


def _gemm(x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    left = x[0].T if a.get('transA') else x[0]
    right = x[1].T if a.get('transB') else x[1]
    product = a.get('alpha', 1.0) * (left @ right)
    return product + a.get('beta', 1.0) * x[2] if len(x) > 2 else product


def _layer_normalization(x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    data, weight, bias = (*x, None)[:3]
    return F.layer_norm(data, data.shape[a.get('axis', -1):], weight, bias, a.get('epsilon', 1e-5))


def _reduce(function: Callable[..., Tensor]) -> Operator:
    def run(x: Sequence[Any], a: dict[str, Any]) -> Tensor:
        return function(x[0], dim=x[1].tolist(), keepdim=bool(a.get('keepdims', 1)))
    return run


def _reshape(x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    shape = x[1].tolist()
    if not a.get('allowzero'):
        shape = [x[0].shape[i] if size == 0 else size for i, size in enumerate(shape)]
    return x[0].reshape(shape)


def _resize(x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    data, _, scales, sizes = (*x, None)[:4]
    if a['mode'] != b'linear' or data.ndim != 4:
        raise UserError('the torch engine resizes linearly and in two axes only')
    if sizes is None:
        size = [int(data.shape[axis] * scales[axis]) for axis in (2, 3)]
    else:
        size = sizes.tolist()[2:]
    return F.interpolate(data, size=size, mode='bilinear', align_corners=False)


def _shape(x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    return torch.tensor(x[0].shape[a.get('start', 0):a.get('end')], dtype=torch.int64)


def _slice(x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    data, starts, ends = x[0], x[1].tolist(), x[2].tolist()
    axes = x[3].tolist() if len(x) > 3 else range(len(starts))
    steps = x[4].tolist() if len(x) > 4 else [1] * len(starts)
    parts = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        parts[axis] = slice(start, end, step)
    result: Tensor = data[tuple(parts)]
    return result


def _split(x: Sequence[Any], a: dict[str, Any]) -> Sequence[Tensor]:
    axis = a.get('axis', 0)
    return x[0].split(-(-x[0].shape[axis] // a['num_outputs']), axis)


def _squeeze(x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    return x[0].squeeze(tuple(x[1].tolist())) if len(x) > 1 else x[0].squeeze()


def _unsqueeze(x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    data, axes = x[0], x[1].tolist()
    rank = data.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        data = data.unsqueeze(axis)
    return data


OPERATORS: dict[str, Operator] = {
    'Abs': lambda x, a: x[0].abs(),
    'Add': lambda x, a: x[0] + x[1],
    'ArgMax': lambda x, a: x[0].argmax(a.get('axis', 0), keepdim=bool(a.get('keepdims', 1))),
    'AveragePool': _average_pool,
    'BatchNormalization': _batch_normalization,
    'Cast': lambda x, a: x[0].to(_TYPES[a['to']]),
    'Clip': _clip,
    'Concat': lambda x, a: torch.cat(list(x), a['axis']),
    'Conv': _conv,
    'CumSum': lambda x, a: x[0].cumsum(int(x[1])),
    'Div': _divide,
    'Equal': lambda x, a: x[0] == x[1],
    'Erf': lambda x, a: torch.erf(x[0]),
    'Exp': lambda x, a: torch.exp(x[0]),
    'Expand': _expand,
    'Gather': _gather,
    'Gemm': _gemm,
    'LayerNormalization': _layer_normalization,
    'MatMul': lambda x, a: x[0] @ x[1],
    'Mul': lambda x, a: x[0] * x[1],
    'Neg': lambda x, a: -x[0],
    'Reciprocal': lambda x, a: x[0].reciprocal(),
    'ReduceL2': _reduce(torch.linalg.vector_norm),
    'ReduceMax': _reduce(torch.amax),
    'ReduceMean': _reduce(torch.mean),
    'ReduceSum': _reduce(torch.sum),
    'Relu': lambda x, a: torch.relu(x[0]),
    'Reshape': _reshape,
    'Resize': _resize,
    'Shape': _shape,
    'Sigmoid': lambda x, a: torch.sigmoid(x[0]),
    'Slice': _slice,
    'Softmax': lambda x, a: x[0].softmax(a.get('axis', -1)),
    'Split': _split,
    'Squeeze': _squeeze,
    'Sub': lambda x, a: x[0] - x[1],
    'Transpose': lambda x, a: x[0].permute(a.get('perm', tuple(range(x[0].ndim))[::-1])),
    'Unsqueeze': _unsqueeze,
}
