# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Read the weights of a street bundle back out of its graphs, to train on from there.

The exporter keeps the parameters' names, but for three things: it folds batch norms into the
convolutions beside them, it stores some linear weights transposed under names of
its own, and it keeps equal tensors once. What comes out is checked against the golden arrays.
"""

from itertools import product
from typing import Any, cast

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from deltaworld_ros.bundle.load import Bundle
from deltaworld_ros.errors import UserError
from deltaworld_ros.export.graphs import graph_modules
from deltaworld_ros.export.write_bundle import golden_arrays
from deltaworld_ros.model.heads import DepthHead
from deltaworld_ros.model.networks import Networks, build_networks, build_part

HEAD_SIZE = 64
MIN_COSINE = 0.999
COMPARED = (
    'features', 'delta_tokens', 'anchor_tokens', 'future_tokens', 'depth', 'confidence')
# The convolution before each batch norm of the backbone, in its blocks or outside them.
FOLDED_INTO = {
    ('_bn0', False): '_conv_stem', ('_bn0', True): '_expand_conv',
    ('_bn1', True): '_depthwise_conv', ('_bn2', True): '_project_conv'}


def bundle_networks(bundle: Bundle) -> Networks:
    """
    Return the networks of a bundle whose backbone and tokenizer are those of the street recipes.

    Weights have the precision that the bundle stores, half. Raises `UserError` where the graphs
    are not of these networks or the networks do not reproduce the bundle's golden arrays.
    """
    if bundle.manifest.backbone != 'efficientnet_lite0':
        raise UserError(f'{bundle.path}: weights can be read from bundles on efficientnet_lite0, '
                        f'not {bundle.manifest.backbone}; give --networks')
    found: dict[str, Tensor] = {}
    for name in ('observe', 'rollout', 'decode'):
        graph = onnx.load(bundle.file(f'{name}.onnx')).graph
        constants = {
            tensor.name.removesuffix('.half'): torch.from_numpy(
                numpy_helper.to_array(tensor).copy())
            for tensor in graph.initializer}
        found |= constants | _folded_biases(graph, constants)
        found |= _transposed_weights(graph, constants)
    try:
        networks = build_networks(_sizes(bundle, found))
    except (KeyError, ValueError) as error:
        raise UserError(f'{bundle.path}: not the graphs of a street bundle: {error}') from None
    _restore_folded(networks, found)
    for part, module in networks.parts().items():
        module.load_state_dict({
            name: _value(found, part, name, value).to(value.dtype)
            for name, value in module.state_dict().items()})
    _find_depth(networks, bundle)
    return networks


def _transposed_weights(
    graph: onnx.GraphProto, constants: dict[str, Tensor],
) -> dict[str, Tensor]:
    """Name the products with unnamed matrices: by the bias added next, or as keys."""
    added = {node.input[position]: node for node in graph.node if node.op_type == 'Add'
             for position in (0, 1)}
    found: dict[str, Tensor] = {}
    keys: list[tuple[str, Tensor]] = []
    attentions: dict[str, str] = {}
    for node in graph.node:
        # The exporter's own names, unlike the parameters', have no dots.
        if node.op_type != 'MatMul' or node.input[1] not in constants or '.' in node.input[1]:
            continue
        matrix = constants[node.input[1]]
        follower = added.get(node.output[0])
        biases = [name for name in (follower.input if follower else ())
                  if name.endswith('.bias')]
        if biases:
            owner = biases[0].removesuffix('.bias')
            found[f'{owner}.weight'] = matrix.T
            if owner.endswith('.q_proj'):
                attentions[node.input[0]] = owner.removesuffix('.q_proj')
        else:
            keys.append((node.input[0], matrix))
    # Of an attention's projections of the same input, only the keys' has no bias.
    return found | {
        f'{attentions[source]}.k_proj.weight': matrix.T for source, matrix in keys
        if source in attentions}


def _folded_biases(graph: onnx.GraphProto, constants: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name the bias that each convolution took over from the batch norm after it."""
    return {
        f'{node.input[1]}_bias': constants[node.input[2]] for node in graph.node
        if node.op_type == 'Conv' and len(node.input) > 2 and node.input[2] in constants}


def _sizes(bundle: Bundle, found: dict[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Return the sizes of the networks; every head has 64 values, as in all recipes."""
    m = bundle.manifest

    def blocks(prefix: str) -> int:
        return len({name.split('.')[2 if prefix.startswith('tok') else 3] for name in found
                    if name.startswith(prefix) and name.endswith('norm1.weight')})
    size = found['tokenizer.encoder_norm.weight'].shape[0]
    width = found['world.predictor.norm.weight'].shape[0]
    channels = found.get('tokenizer.delta_code.channel_basis')
    kind = {'kind': 'warp'} if channels is None else {
        'kind': 'compact', 'code_channels': channels.shape[1]}
    return {
        'backbone': {'kind': 'efficientnet_lite0', 'feature_size': m.feature_size},
        'tokenizer': {
            **kind, 'feature_size': m.feature_size,
            'grid': [m.feature_rows, m.feature_columns], 'token_size': m.token_size,
            'size': size, 'heads': size // HEAD_SIZE,
            'encoder_layers': blocks('tokenizer.encoder_blocks.'),
            'decoder_layers': blocks('tokenizer.decoder_blocks.'),
            'mlp_size': found['tokenizer.decoder_blocks.0.mlp.up_proj.weight'].shape[0],
        },
        'world': {
            'kind': 'residual' if 'world.repeat' in found else 'deltaworld',
            'size': width, 'heads': width // HEAD_SIZE,
            'layers': blocks('world.predictor.blocks.'),
            'mlp_size': found['world.predictor.blocks.0.mlp.up_proj.weight'].shape[0],
            'token_size': m.token_size,
        },
        'segmentation': {'kind': 'linear', 'size': m.feature_size, 'classes': len(m.classes)},
        'depth': {
            'kind': 'linear', 'size': m.feature_size,
            'bins': found['depth.head.weight'].shape[0], 'minimum': m.depth_minimum,
            'maximum': m.depth_maximum},
    }


def _restore_folded(networks: Networks, found: dict[str, Tensor]) -> None:
    """Put a batch norm that only adds the folded bias where one was folded away."""
    for part, module in networks.parts().items():
        for name, norm in module.named_modules():
            if not isinstance(norm, nn.BatchNorm2d) or f'{part}.{name}.weight' in found:
                continue
            parent, _, own = name.rpartition('.')
            prefix = f'{part}.{parent}.' if parent else f'{part}.'
            # A head's norm comes before its convolution, which has a bias of its own.
            bias = found.get(f'{prefix}{FOLDED_INTO.get((own, bool(parent)))}.weight_bias')
            zeros = torch.zeros(norm.num_features)
            found |= {
                f'{part}.{name}.weight': torch.full_like(zeros, (1.0 + norm.eps) ** 0.5),
                f'{part}.{name}.bias': zeros if bias is None else bias.float(),
                f'{part}.{name}.running_mean': zeros,
                f'{part}.{name}.running_var': torch.ones_like(zeros)}


def _value(found: dict[str, Tensor], part: str, name: str, own: Tensor) -> Tensor:
    """Return a tensor by its name; the heads' statistics are equal, so one of them is kept."""
    if name.endswith('num_batches_tracked'):
        return own
    for prefix in (part, 'segmentation'):
        value = found.get(f'{prefix}.{name}')
        if value is not None and value.shape == own.shape:
            return value
    raise UserError(f'the graphs of the bundle have no weights {part}.{name}; give --networks')


def _find_depth(networks: Networks, bundle: Bundle) -> None:
    """Try the ways to space and to resize depth: the graphs do not name theirs."""
    sizes, state = networks.sizes['depth'], networks.depth.state_dict()
    failed: UserError | None = None
    for spacing, interpolation in product(('log', 'uniform'), ('inverse', 'depth')):
        networks.sizes['depth'] = {
            **sizes, 'spacing': spacing, 'interpolation': interpolation}
        networks.depth = cast(DepthHead, build_part('depth', networks.sizes['depth']))
        networks.depth.load_state_dict(state)
        try:
            return _check(networks, bundle)
        except UserError as error:
            failed = error
    assert failed is not None
    raise failed


@torch.no_grad()
def _check(networks: Networks, bundle: Bundle) -> None:
    """Compare every golden array with what the networks make of the golden frames."""
    with np.load(bundle.file('golden.npz')) as file:
        golden = {name: file[name] for name in file.files}
    modules = graph_modules(networks, bundle.manifest)
    found = golden_arrays(modules, bundle.manifest, golden['frames'], golden['stamps'])
    for name in COMPARED:
        if name == 'confidence' and not bundle.manifest.temperatures:
            continue   # older graphs make it in another way
        ours, theirs = found[name].ravel(), golden[name].ravel()
        cosine = ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
        if not cosine >= MIN_COSINE:
            raise UserError(f'{bundle.path}: the weights read from the graphs give other {name} '
                            f'than the bundle (cosine {cosine:.4f}); give --networks')
