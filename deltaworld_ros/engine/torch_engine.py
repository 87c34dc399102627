# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Run the graphs of a bundle in torch, on its GPU where it has one (needs torch and onnx).

For machines whose GPU torch can use and ONNX Runtime cannot. The graphs themselves are executed,
operator by operator, so that any bundle runs without the code or the checkpoint it came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.bundle.manifest import GRAPHS, Manifest
from deltaworld_ros.bundle.motion import motion_input
from deltaworld_ros.engine.interface import EngineUnavailable, Features, LeadDecoding
from deltaworld_ros.engine.onnx_operators import OPERATORS, Operator


@dataclass(frozen=True)
class Step:
    """One node of a graph, and the values that nobody needs after it."""

    operator: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    last_used: tuple[str, ...] = ()


class Graph(Protocol):
    """One graph of a bundle, run on tensors with their batch axis."""

    def run(self, outputs: Sequence[str], **inputs: Tensor) -> list[Tensor]:
        """Compute the outputs asked for."""
        ...


class TorchGraph:
    """One ONNX graph, executed in torch; what depends on no input is computed at load."""

    def __init__(self, name: str, model: bytes, device: torch.device) -> None:
        graph = onnx.load_from_string(model).graph
        unknown = sorted({node.op_type for node in graph.node} - set(OPERATORS))
        if unknown:
            raise EngineUnavailable(
                f'{name} has operators that the torch engine lacks: {", ".join(unknown)}')
        constants = {
            item.name: _constant(numpy_helper.to_array(item)) for item in graph.initializer}
        self._steps: list[Step] = []
        with torch.inference_mode():
            for node in graph.node:
                step = Step(
                    OPERATORS[node.op_type], tuple(node.input), tuple(node.output),
                    {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute})
                if all(name in constants or not name for name in step.inputs):
                    constants.update(_execute(step, constants))
                else:
                    self._steps.append(step)
        used = {name for step in self._steps for name in step.inputs}
        used |= {output.name for output in graph.output}
        # Sizes and indices stay on the host: reading them back would stall the device.
        self._constants = {
            name: value.to(device) if value.is_floating_point() else value
            for name, value in constants.items() if name in used}
        self._plans: dict[tuple[str, ...], list[Step]] = {}

    def run(self, outputs: Sequence[str], **inputs: Tensor) -> list[Tensor]:
        """Compute only the outputs asked for."""
        wanted = tuple(outputs)
        if wanted not in self._plans:
            self._plans[wanted] = self._plan(wanted)
        with torch.inference_mode():
            values = {**self._constants, **inputs}
            for step in self._plans[wanted]:
                values.update(_execute(step, values))
                for name in step.last_used:
                    del values[name]
        return [values[name] for name in wanted]

    def _plan(self, wanted: tuple[str, ...]) -> list[Step]:
        """Select the steps that the wanted outputs need, and note where each value ends."""
        needed, seen = set(wanted), set(wanted)
        plan: list[Step] = []
        for step in reversed(self._steps):
            if needed.isdisjoint(step.outputs):
                continue
            reads = {name for name in step.inputs if name and name not in self._constants}
            unread = set(step.outputs) - seen
            plan.append(Step(step.operator, step.inputs, step.outputs, step.attributes,
                             tuple((reads - seen) | unread)))
            needed |= reads
            seen |= reads
        return plan[::-1]


class TensorEngine:
    """Graphs that take and return torch's tensors; features stay on the device as tensors."""

    several_threads = False

    def __init__(self, name: str, graphs: Mapping[str, Graph], manifest: Manifest,
                 device: torch.device) -> None:
        self.name = name
        self._graphs = dict(graphs)
        self._device = device
        self._manifest = manifest
        self._no_features = torch.zeros(
            1, manifest.num_patches, manifest.feature_size, device=device)

    def observe(
            self, image: NDArray[np.uint8], previous: Features | None,
    ) -> tuple[Features, NDArray[np.float32], NDArray[np.float32]]:
        """See `Engine.observe`."""
        features, delta, anchor = self._graphs['observe'].run(
            ('features', 'delta_token', 'anchor_token'), image=self._tensor(image),
            previous_features=self._no_features if previous is None else previous)
        return features, _array(delta), _array(anchor)

    def rollout(
            self, tokens: NDArray[np.float32], rotary_cos: NDArray[np.float32],
            rotary_sin: NDArray[np.float32], noise: NDArray[np.float32],
            motion: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """See `Engine.rollout`."""
        [future] = self._graphs['rollout'].run(
            ('future_tokens',), tokens=self._tensor(tokens), rotary_cos=self._tensor(rotary_cos),
            rotary_sin=self._tensor(rotary_sin), noise=self._tensor(noise),
            **{name: self._tensor(value[0])
               for name, value in motion_input(self._manifest, motion).items()})
        return _array(future)

    def decode(
            self, features: Features, tokens: NDArray[np.float32], weights: NDArray[np.float32],
            outputs: Sequence[str], leads: Sequence[int] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """See `Engine.decode`; all leads are computed."""
        maps = self._graphs['decode'].run(
            outputs, features=features, tokens=self._tensor(tokens),
            weights=self._tensor(weights))
        return {name: _array(value) for name, value in zip(outputs, maps, strict=True)}

    def prepare_leads(self, bundle: Bundle) -> list[LeadDecoding]:
        """See `Engine.prepare_leads`; the steps of the whole graph that outputs need are run."""
        return []

    def features_to_host(self, features: Features) -> NDArray[np.float32]:
        """See `Engine.features_to_host`."""
        return _array(features)

    def features_from_host(self, array: NDArray[np.float32]) -> Features:
        """See `Engine.features_from_host`."""
        return self._tensor(array)

    def close(self) -> None:
        """See `Engine.close`."""
        self._graphs.clear()
        self._no_features = torch.zeros(0)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.tensor(np.ascontiguousarray(array), device=self._device)[None]


class TorchEngine(TensorEngine):
    """The graphs of a bundle, executed in torch."""

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        if threads > 0:
            torch.set_num_threads(threads)  # of the whole process: torch has no other setting
        device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        graphs = {
            name: TorchGraph(file, bundle.read(file), device)
            for name, file in ((name, f'{name}.onnx') for name in GRAPHS)}
        super().__init__(f'torch ({device})', graphs, bundle.manifest, device)


def _constant(values: NDArray[Any]) -> Tensor:
    if values.dtype == 'bfloat16':  # NumPy has no such type, so torch knows no such array
        return torch.tensor(values.view(np.int16)).view(torch.bfloat16)
    return torch.tensor(values)


def _execute(step: Step, values: dict[str, Tensor]) -> dict[str, Tensor]:
    inputs = [values[name] if name else None for name in step.inputs]
    result = step.operator(inputs, step.attributes)
    outputs = (result,) if isinstance(result, Tensor) else result
    return dict(zip(step.outputs, outputs, strict=True))


def _array(tensor: Tensor) -> NDArray[Any]:
    """Copy the first of a batch to the host."""
    return np.ascontiguousarray(tensor[0].cpu().numpy())
