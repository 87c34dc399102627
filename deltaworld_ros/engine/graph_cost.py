# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Count the work of a bundle's graphs by running them in torch (needs torch and onnx)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.bundle.manifest import GRAPHS
from deltaworld_ros.bundle.motion import motion_input
from deltaworld_ros.engine.torch_engine import TorchGraph

GIGA = 1e9


def bundle_cost(bundle: Bundle, num_samples: int, num_futures: int) -> dict[str, Any]:
    """
    Count one forecast as the node makes it, in GFLOPs.

    A multiply-add counts as two operations; norms, activations and rotations are not counted.
    `backbone` and `encoder` take in one frame, `predictor` rolls all samples out and `decoder`
    decodes the chosen futures and their mean into maps.
    """
    m = bundle.manifest
    device = torch.device('cpu')
    graphs = {name: TorchGraph(name, bundle.read(f'{name}.onnx'), device) for name in GRAPHS}

    def gflops(graph: str, outputs: Sequence[str], **inputs: Tensor) -> float:
        counter = FlopCounterMode(display=False)
        with counter:
            graphs[graph].run(outputs, **inputs)
        return counter.get_total_flops() / GIGA

    features = torch.zeros(1, m.num_patches, m.feature_size)
    image = torch.zeros(1, m.image_height, m.image_width, 3, dtype=torch.uint8)
    table = torch.zeros(1, m.context_length + m.steps, len(m.rotary_frequencies))
    backbone = gflops('observe', ('features',), image=image)
    observe = gflops(
        'observe', ('features', 'delta_token', 'anchor_token'), image=image,
        previous_features=features)
    predictor = gflops(
        'rollout', ('future_tokens',), tokens=torch.zeros(1, m.context_length, m.token_size),
        rotary_cos=table, rotary_sin=table,
        noise=torch.zeros(1, num_samples, m.steps, m.noise_size),
        **{name: torch.from_numpy(value) for name, value in motion_input(m, None).items()})
    decoder = gflops(
        'decode', ('labels', 'depth', 'fused_labels', 'fused_depth', 'confidence'),
        features=features, tokens=torch.zeros(1, num_futures, m.steps, m.token_size),
        weights=torch.full((1, num_futures), 1.0 / num_futures))
    return {
        'bundle': m.name, 'num_samples': num_samples, 'num_futures': num_futures,
        'context': m.context_length, 'steps': m.steps,
        'backbone': backbone, 'encoder': observe - backbone, 'predictor': predictor,
        'decoder': decoder, 'total': observe + predictor + decoder,
    }
