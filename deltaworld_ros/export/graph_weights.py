# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Write into a graph which of its constants is which weight, so that a bundle can be trained on.

A bundle that has to stay small holds its weights in its graphs alone. The exporter transposes
some of them under names of its own and keeps equal ones once.
"""

import hashlib
import json
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from torch import nn

from deltaworld_ros.model.registry import PARTS

# Keys of the graph's metadata.
WEIGHTS, SIZES = 'weights', 'sizes'
# A gain that the exporter computed with is no constant any more: up to so many values are noted.
FOLDED, MAX_FOLDED = 'folded_weights', 16


def name_weights(model: onnx.ModelProto, module: nn.Module, sizes: dict[str, Any]) -> None:
    """
    Write into a graph's metadata the sizes of its parts, and the constant of each weight.

    module: what was exported; its weights are found by their values, as they are or transposed.
    The values of small ones that are not found are written themselves.
    """
    constants = {_digest(numpy_helper.to_array(tensor)): tensor.name
                 for tensor in model.graph.initializer}
    found: dict[str, list[str | bool]] = {}
    folded = {}
    for name, value in module.state_dict().items():
        values = value.float().numpy()
        for transposed in (False, True):
            constant = constants.get(_digest(values.T if transposed else values))
            if constant is not None:
                found[name] = [constant, transposed]
                break
        else:
            if values.size <= MAX_FOLDED:
                folded[name] = values.tolist()
    parts = {part: sizes[part] for part in PARTS if hasattr(module, part)}
    onnx.helper.set_model_props(model, {
        **{prop.key: prop.value for prop in model.metadata_props},
        WEIGHTS: json.dumps(found), FOLDED: json.dumps(folded), SIZES: json.dumps(parts)})


def _digest(values: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    return values.shape, hashlib.sha256(values.tobytes()).digest()
