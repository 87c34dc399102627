# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""INT8 in the MLPs of exported graphs, by NVIDIA ModelOpt (needs torch and ModelOpt)."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from torch import nn

from deltaworld_ros.bundle.manifest import Manifest, write_manifest
from deltaworld_ros.errors import UserError
from deltaworld_ros.export.precision import PRECISIONS, Precision
from deltaworld_ros.export.precision_report import graph_inputs
from deltaworld_ros.model.blocks import Mlp, SwiGlu
from deltaworld_ros.model.networks import Networks

# The predictor costs little, and its steps add INT8's errors up.
QUANTISED = ('observe', 'decode')


def find_quantiser() -> Callable[..., Any]:
    """Return ModelOpt's function for ONNX graphs; `UserError` says what to install."""
    try:
        quantiser: Callable[..., Any] = importlib.import_module(
            'modelopt.onnx.quantization').quantize
    # Its own message names an extra that would bring CUDA libraries and another ONNX Runtime.
    except ImportError as error:
        raise UserError(f'--mlp int8 needs NVIDIA ModelOpt ({" ".join(str(error).split())[:90]}); '
                        'install it with: pip install "deltaworld_ros[quantise]"') from None
    return quantiser


def quantise_mlps(
    folder: Path, manifest: Manifest, networks: Networks, precision: Precision,
) -> Manifest:
    """
    Quantise both operands of every MLP product that encodes or decodes, in a bundle's folder.

    The ranges are the largest values on the golden frames. Everything else keeps its type. Return
    the manifest with the new files' hashes; raise `UserError` where ModelOpt is missing or a
    bundle has no MLPs.
    """
    quantise = find_quantiser()
    with np.load(folder / 'golden.npz', allow_pickle=False) as golden:
        inputs = graph_inputs(manifest, golden)
    for name in QUANTISED:
        path = folder / f'{name}.onnx'
        model = onnx.load(path)
        products = mlp_products(model, networks, precision)
        # Without names ModelOpt would take every product.
        if not products:
            raise UserError(f'--mlp int8: {manifest.name}: {path.name} has no MLP')
        data = {item.name: value.numpy()
                for item, value in zip(model.graph.input, inputs[name], strict=True)}
        quantise(
            str(path), quantize_mode='int8', calibration_data=data, calibration_eps=['cpu'],
            calibration_method='max', op_types_to_quantize=['MatMul'],
            nodes_to_quantize=[f'^{re.escape(product)}$' for product in products],
            # Not the type of the graph: this keeps ModelOpt from casting what is float32.
            high_precision_dtype='fp32', disable_mha_qdq=True, output_path=str(path),
            log_level='ERROR')
    return write_manifest(folder, manifest)


def mlp_products(
    model: onnx.ModelProto, networks: Networks, precision: Precision,
) -> list[str]:
    """Name the products with a weight of an MLP; the exporter keeps values and not names."""
    weights = {
        layer.weight.detach().to(PRECISIONS[precision]).T.contiguous().numpy().tobytes()
        for part in networks.parts().values() for mlp in part.modules()
        if isinstance(mlp, Mlp | SwiGlu)
        for layer in mlp.children() if isinstance(layer, nn.Linear)}
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    return [node.name for node in model.graph.node if node.op_type == 'MatMul'
            and _constant(node.input[1], constants, makers) in weights]


def _constant(
    name: str, constants: Mapping[str, np.ndarray], makers: Mapping[str, onnx.NodeProto],
) -> bytes | None:
    """Return the bytes of a constant matrix, which may be transposed in the graph."""
    if name in constants:
        return np.ascontiguousarray(constants[name]).tobytes()
    maker = makers.get(name)
    if maker is not None and maker.op_type == 'Transpose' and maker.input[0] in constants:
        return np.ascontiguousarray(constants[maker.input[0]].T).tobytes()
    return None
