# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Run a bundle's networks through torch2trt, which images for NVIDIA Jetson ship (needs torch).

It converts torch modules, so the bundle must hold `networks.safetensors`. Its networks are typed
weakly: with FP16 TensorRT chooses the types itself, so only the parity gate tells whether what
came out may be used. Made from NVIDIA-AI-IOT/torch2trt at 4e820ae, and never run on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.bundle.manifest import Manifest
from deltaworld_ros.engine.interface import EngineUnavailable, OutOfDeviceMemory
from deltaworld_ros.engine.torch_engine import TensorEngine
from deltaworld_ros.export.converted_bundle import NETWORKS_NAME, bundle_networks
from deltaworld_ros.export.graphs import graph_modules
from deltaworld_ros.export.precision import typed_networks
from deltaworld_ros.export.write_bundle import OPSET, OUTPUTS, example_inputs

WORKSPACE_BYTES = 1 << 30   # TensorRT 10 ignores it
LABELS = ('labels', 'fused_labels')
# The inputs whose second axis counts samples or futures, and the outputs of which each has one.
COUNTED = {'observe': (), 'rollout': ('noise',), 'decode': ('tokens', 'weights')}
PER_COUNT = ('future_tokens', 'labels', 'depth', 'future_features')


class WithoutUint8(nn.Module):
    """A graph of float32 and int32 inputs and outputs: torch2trt knows no uint8."""

    def __init__(self, graph: nn.Module, names: Sequence[str]) -> None:
        """Take the graph and the names of its first outputs."""
        super().__init__()
        self.graph = graph
        self.names = tuple(names)

    def forward(self, *inputs: Tensor) -> Any:
        """Map the graph's inputs to those of its outputs that have names."""
        outputs = self.graph(*inputs)
        if len(self.names) == 1:
            return outputs
        return tuple(value.to(torch.int32) if name in LABELS else value
                     for name, value in zip(self.names, outputs, strict=False))


class ConvertedGraph:
    """
    One graph as torch2trt converted it, for `count` samples or futures at once.

    Tracing freezes their number, so fewer are filled up with zeros, and more samples run one part
    after the other. More futures are too much at once, which `DecodeBatches` knows to divide.
    """

    def __init__(self, name: str, module: Callable[..., Any], inputs: Sequence[str],
                 count: int) -> None:
        self._module = module
        self._inputs = tuple(inputs)
        self._outputs = OUTPUTS[name]
        self._name = name
        self._count = count

    def run(self, outputs: Sequence[str], **inputs: Tensor) -> list[Tensor]:
        """Compute everything and return the outputs asked for."""
        counted = COUNTED[self._name]
        if not counted:
            return self._run(outputs, inputs)
        number = inputs[counted[0]].shape[1]
        if self._name == 'decode' and number > self._count:
            raise OutOfDeviceMemory(
                f'decode was converted for {self._count} futures at once, not {number}')
        parts = []
        for start in range(0, number, self._count):
            part = {name: value[:, start:start + self._count] if name in counted else value
                    for name, value in inputs.items()}
            here = part[counted[0]].shape[1]
            for name in counted:
                empty = part[name].new_zeros(1, self._count - here, *part[name].shape[2:])
                part[name] = torch.cat([part[name], empty], dim=1)
            parts.append([value[:, :here] if output in PER_COUNT else value
                          for output, value in zip(outputs, self._run(outputs, part),
                                                   strict=True)])
        return [torch.cat(values, dim=1) for values in zip(*parts, strict=True)]

    def _run(self, outputs: Sequence[str], inputs: dict[str, Tensor]) -> list[Tensor]:
        with torch.inference_mode():
            results = self._module(
                *(inputs[name].float().contiguous() for name in self._inputs))
        results = (results,) if isinstance(results, Tensor) else results
        found = dict(zip(self._outputs, results, strict=True))
        return [found[name].to(torch.uint8) if name in LABELS else found[name]
                for name in outputs]


class Torch2TrtEngine(TensorEngine):
    """
    The networks of a bundle, converted at each start; with `half`, TensorRT may choose FP16.

    Raise `EngineUnavailable` where torch2trt, a GPU or the networks are missing.
    """

    def __init__(self, bundle: Bundle, half: bool, log: Callable[[str], None]) -> None:
        try:
            from torch2trt import torch2trt
        except ImportError as error:
            raise EngineUnavailable(
                f'the Python package {error.name} is not installed; images for Jetson ship it, '
                'or see https://github.com/NVIDIA-AI-IOT/torch2trt') from None
        device = gpu()
        if NETWORKS_NAME not in bundle.manifest.files:
            raise EngineUnavailable(
                f'the bundle has no {NETWORKS_NAME}, which torch2trt converts; bundles made by '
                '`deltaworld convert` have it')
        networks = typed_networks(bundle_networks(bundle)[0], 'fp32')
        graphs = {}
        for name, module in graph_modules(networks, bundle.manifest).items():
            log(f'torch2trt converts {name}, which takes minutes')
            graphs[name] = convert(
                torch2trt, name, module.to(device), bundle.manifest, half, device)
        kind = 'fp16' if half else 'fp32'
        super().__init__(f'torch2trt ({kind})', graphs, bundle.manifest, device)


def gpu() -> torch.device:
    """Return the GPU; raise `EngineUnavailable` where torch can use none."""
    if not torch.cuda.is_available():
        raise EngineUnavailable('torch2trt needs a GPU that torch can use')
    return torch.device('cuda')


def convert(
        torch2trt: Callable[..., Any], name: str, graph: nn.Module, manifest: Manifest,
        half: bool, device: torch.device) -> ConvertedGraph:
    """Convert one graph for one camera and the bundle's numbers of samples and futures."""
    count = {'rollout': manifest.num_samples, 'decode': manifest.num_futures}.get(name, 1)
    inputs = {key: value[:1].float() for key, value in example_inputs(name, manifest).items()}
    for key in COUNTED[name]:
        inputs[key] = inputs[key][:, :1].repeat_interleave(count, dim=1)
    inputs = {key: value.to(device) for key, value in inputs.items()}
    module = torch2trt(
        WithoutUint8(graph, OUTPUTS[name]).eval(), list(inputs.values()),
        input_names=list(inputs), output_names=list(OUTPUTS[name]), fp16_mode=half,
        # Its own tracer lacks many operators; through ONNX it has those of TensorRT's parser.
        use_onnx=True, onnx_opset=OPSET, max_workspace_size=WORKSPACE_BYTES, keep_network=False)
    return ConvertedGraph(name, module, list(inputs), count)
