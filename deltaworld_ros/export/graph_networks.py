# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Read the networks of a bundle back out of its graphs, to train on from there."""

import json
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from deltaworld_ros.bundle.arrays import read_arrays
from deltaworld_ros.bundle.load import Bundle
from deltaworld_ros.errors import UserError
from deltaworld_ros.export.graph_weights import FOLDED, SIZES, WEIGHTS
from deltaworld_ros.export.graphs import graph_modules
from deltaworld_ros.export.precision import typed_networks
from deltaworld_ros.export.write_bundle import HALF, golden_arrays
from deltaworld_ros.model.networks import Networks, build_networks

GRAPHS = ('observe', 'rollout', 'decode')
MIN_COSINE = 0.999
COMPARED = (
    'features', 'delta_tokens', 'anchor_tokens', 'future_tokens', 'depth', 'confidence')


@torch.no_grad()
def graph_networks(bundle: Bundle) -> Networks:
    """
    Return the networks of a bundle from its graphs, in the precision that these store.

    Raise `UserError` where the graphs do not name their weights, lack one, or where the networks
    do not reproduce the bundle's golden arrays.
    """
    sizes, state = _read_notes(bundle)
    try:
        networks = build_networks(sizes)
    # The sizes are the file's: whatever they do to a constructor is its mistake.
    except Exception as error:
        raise UserError(f'{bundle.path}: the sizes in its graphs build no networks: '
                        f'{" ".join(str(error).split())[:200]}') from None
    folded = typed_networks(networks, 'fp32')
    for part, module in folded.parts().items():
        own = module.state_dict()
        lacking = [f'{part}.{name}' for name in own if f'{part}.{name}' not in state]
        if lacking:
            raise UserError(f'{bundle.path}: its graphs have no weights {lacking[0]}; '
                            'give --networks')
        try:
            module.load_state_dict({name: state[f'{part}.{name}'] for name in own})
        except RuntimeError as error:
            raise UserError(f'{bundle.path}: weights of other sizes than its graphs note: '
                            f'{" ".join(str(error).split())[:200]}') from None
        unfold_batch_norms(networks.parts()[part], module)
    _check_golden(networks, bundle)
    return networks


def _read_notes(bundle: Bundle) -> tuple[dict[str, dict[str, Any]], dict[str, Tensor]]:
    """Return the sizes of each part and all weights by name, as the graphs note them."""
    sizes: dict[str, dict[str, Any]] = {}
    state: dict[str, Tensor] = {}
    for name in GRAPHS:
        model = onnx.load(bundle.file(f'{name}.onnx'))
        notes = {prop.key: prop.value for prop in model.metadata_props}
        if not {WEIGHTS, FOLDED, SIZES} <= notes.keys():
            raise UserError(f'{bundle.path}: its graphs do not name their weights, since an older '
                            'version exported it; export it again, or give --networks')
        constants = {tensor.name.removesuffix(HALF): numpy_helper.to_array(tensor)
                     for tensor in model.graph.initializer}
        try:
            sizes |= json.loads(notes[SIZES])
            for weight, (constant, transposed) in json.loads(notes[WEIGHTS]).items():
                values = constants[constant].T if transposed else constants[constant]
                state[weight] = torch.from_numpy(values.copy()).float()
            state |= {weight: torch.tensor(values) for weight, values in json.loads(
                notes[FOLDED]).items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f'{bundle.path}: {name}.onnx: what it notes of its weights is wrong: '
                            f'{" ".join(str(error).split())[:200]}') from None
    return sizes, state


@torch.no_grad()
def _check_golden(networks: Networks, bundle: Bundle) -> None:
    """Refuse networks that compute something else than the graphs, as after a change of code."""
    golden = read_arrays(bundle.read('golden.npz'), 'golden.npz', ['frames', 'stamps', *COMPARED])
    found = golden_arrays(
        graph_modules(networks, bundle.manifest), bundle.manifest, golden['frames'],
        golden['stamps'])
    for name in COMPARED:
        ours, theirs = found[name].ravel(), golden[name].ravel()
        cosine = ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
        if not cosine >= MIN_COSINE:
            raise UserError(f'{bundle.path}: the weights read from the graphs give other {name} '
                            f'than the bundle (cosine {cosine:.4f}); give --networks')


def unfold_batch_norms(part: nn.Module, folded: nn.Module) -> None:
    """Load a new part with the weights of its folded copy; its batch norms only add the biases."""
    part.load_state_dict(folded.state_dict(), strict=False)
    for name, module in part.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.fill_((1.0 + module.eps) ** 0.5)
        for convolution, norm in getattr(module, 'BATCH_NORMS', ()):
            if hasattr(module, convolution):
                bias = getattr(folded.get_submodule(name), convolution).bias
                getattr(module, norm).bias.copy_(bias)
