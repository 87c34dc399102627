# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How far networks of half precision are from float32, layer group by layer group (torch)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.export.graphs import graph_modules
from deltaworld_ros.export.precision import Precision, typed_networks
from deltaworld_ros.export.write_bundle import OUTPUTS
from deltaworld_ros.model.blocks import CrossAttentionBlock, SelfAttentionBlock
from deltaworld_ros.model.efficientnet import InvertedResidual
from deltaworld_ros.model.networks import Networks
from deltaworld_ros.model.rotary import time_table

_GROUPS = (SelfAttentionBlock, CrossAttentionBlock, InvertedResidual)


@dataclass(frozen=True)
class PrecisionRow:
    """
    One layer group or output of a graph against float32.

    `cosine` is the mean over patches or tokens, `worst` the least; of labels they are the share
    of equal ones, over all frames and in the worst frame.
    """

    graph: str
    layers: str
    cosine: float
    worst: float


def precision_report(
    networks: Networks, manifest: Manifest, precision: Precision,
    golden: Mapping[str, np.ndarray],
) -> list[PrecisionRow]:
    """
    Compare the networks in `precision` with float32 on the arrays of golden.npz.

    Both run in torch, whose CPU has every type; each graph gets the float32 inputs, and errors add
    up from its first layer to its outputs.
    """
    inputs = graph_inputs(manifest, golden)
    reference = graph_modules(networks, manifest)
    typed = graph_modules(typed_networks(networks, precision), manifest)
    rows = []
    for name, arguments in inputs.items():
        wanted = _run(reference[name], OUTPUTS[name], arguments)
        actual = _run(typed[name], OUTPUTS[name], arguments)
        rows += [_compare(name, layers, wanted[layers], actual[layers]) for layers in wanted]
    return rows


def graph_inputs(
    manifest: Manifest, golden: Mapping[str, np.ndarray],
) -> dict[str, tuple[Tensor, ...]]:
    """Return what each graph gets, in the order of its inputs, from the arrays of golden.npz."""
    arrays = {name: torch.from_numpy(value) for name, value in golden.items()}
    features = arrays['features']
    ahead = np.concatenate([golden['stamps'] - golden['stamps'][-1], manifest.leads])
    cos, sin = time_table(
        torch.from_numpy(ahead), torch.tensor(manifest.rotary_frequencies, dtype=torch.float64))
    return {
        'observe': (arrays['frames'],
                    torch.cat([torch.zeros_like(features[:1]), features[:-1]])),
        'rollout': (arrays['tokens'], cos[None], sin[None], arrays['noise'],
                    *([arrays['motion']] if manifest.motion else [])),
        'decode': (features[-1:], arrays['future_tokens'], arrays['weights']),
    }


def _run(
    graph: nn.Module, outputs: tuple[str, ...], arguments: tuple[Tensor, ...],
) -> dict[str, Tensor]:
    """Run a graph; return what each layer group and output was, patches or tokens in rows."""
    calls: dict[str, list[Tensor]] = defaultdict(list)
    handles: list[RemovableHandle] = []
    for name, module in graph.named_modules():
        if isinstance(module, _GROUPS):
            def keep(module: nn.Module, given: Any, output: Tensor, name: str = name) -> None:
                vectors = output.movedim(1, -1) if output.ndim == 4 and isinstance(
                    module, InvertedResidual) else output
                calls[name].append(vectors.float().flatten(0, -2))
            handles.append(module.register_forward_hook(keep))
    with torch.no_grad():
        results = graph(*arguments)
    for handle in handles:
        handle.remove()
    results = results if isinstance(results, tuple) else (results,)
    # After its outputs the decoder gives the maps of single leads, of which these are made.
    return {**{name: torch.cat(rows) for name, rows in calls.items()},
            **dict(zip(outputs, results, strict=False))}


def _compare(graph: str, layers: str, wanted: Tensor, actual: Tensor) -> PrecisionRow:
    if wanted.dtype == torch.uint8:
        values = (wanted == actual).double().mean((-2, -1)).flatten()
    else:
        left, right = wanted.double().flatten(0, -2), actual.double().flatten(0, -2)
        # A map row of zeros, as confidence may have, has no direction.
        values = torch.where(
            (left == right).all(-1), 1.0, torch.cosine_similarity(left, right, dim=-1))
    return PrecisionRow(graph, layers, float(values.mean()), float(values.min()))
