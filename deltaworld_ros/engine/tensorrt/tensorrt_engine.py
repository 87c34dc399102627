# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Run the graphs of a bundle as TensorRT engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.bundle.motion import motion_input
from deltaworld_ros.engine.interface import Features, LeadDecoding
from deltaworld_ros.engine.tensorrt.buffers import DeviceArray
from deltaworld_ros.engine.tensorrt.build import build_engines
from deltaworld_ros.engine.tensorrt.build_progress import ProgressLines
from deltaworld_ros.engine.tensorrt.cuda import Cuda
from deltaworld_ros.engine.tensorrt.error_log import ErrorLog
from deltaworld_ros.engine.tensorrt.graph import TensorRTGraph
from deltaworld_ros.engine.tensorrt.known_problems import known_problems
from deltaworld_ros.engine.tensorrt.library import find_library, library_name


class TensorRTEngine:
    """
    The graphs of a bundle in TensorRT; features stay on the GPU as `DeviceArray`.

    Raise `EngineUnavailable` where TensorRT, CUDA or a GPU is missing, or a graph does not build.
    `log` gets lines about builds, about known problems of this TensorRT, and where a graph runs
    slower than it could.
    """

    several_threads = False

    def __init__(self, bundle: Bundle, log: Callable[[str], None],
                 library: Any = None, cuda: Any = None) -> None:
        library = library or find_library()
        cuda = cuda or Cuda()
        capability = cuda.capability()
        self.name = f'{library_name(library)} (compute capability {capability})'
        self._cuda = cuda
        for line in known_problems(library, capability):
            log(line)
        plans = build_engines(library, bundle, [capability], log, ProgressLines(log))
        errors = ErrorLog(library)
        runtime = library.Runtime(errors.logger)
        self._graphs = {
            name: TensorRTGraph(library, cuda, runtime, name, plan, errors.last, log)
            for name, plan in plans.items()}
        self._manifest = m = bundle.manifest
        self._no_features = self.features_from_host(
            np.zeros((m.num_patches, m.feature_size), np.float32))

    def observe(
            self, image: NDArray[np.uint8], previous: Features | None,
    ) -> tuple[Features, NDArray[np.float32], NDArray[np.float32]]:
        """See `Engine.observe`."""
        given = self._graphs['observe'].run(
            {'image': image[None],
             'previous_features': self._no_features if previous is None else previous},
            ('delta_token', 'anchor_token'), ('features',))
        return given['features'], given['delta_token'], given['anchor_token']

    def rollout(
            self, tokens: NDArray[np.float32], rotary_cos: NDArray[np.float32],
            rotary_sin: NDArray[np.float32], noise: NDArray[np.float32],
            motion: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """See `Engine.rollout`."""
        given = self._graphs['rollout'].run(
            {'tokens': tokens[None], 'rotary_cos': rotary_cos[None],
             'rotary_sin': rotary_sin[None], 'noise': noise[None],
             **motion_input(self._manifest, motion)}, ('future_tokens',))
        future: NDArray[np.float32] = given['future_tokens']
        return future

    def decode(
            self, features: Features, tokens: NDArray[np.float32], weights: NDArray[np.float32],
            outputs: Sequence[str], leads: Sequence[int] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """See `Engine.decode`; all leads are computed."""
        return self._graphs['decode'].run(
            {'features': features, 'tokens': tokens[None], 'weights': weights[None]}, outputs)

    def prepare_leads(self, bundle: Bundle) -> list[LeadDecoding]:
        """See `Engine.prepare_leads`; there are none."""
        return []

    def features_to_host(self, features: Features) -> NDArray[np.float32]:
        """See `Engine.features_to_host`."""
        array: NDArray[np.float32] = np.empty(features.shape, features.dtype)
        self._cuda.download(array, features.address)
        self._cuda.synchronize()
        return array[0]

    def features_from_host(self, array: NDArray[np.float32]) -> Features:
        """See `Engine.features_from_host`."""
        batch = np.ascontiguousarray(array, np.float32)[None]
        held = DeviceArray(self._cuda, batch.shape, batch.dtype)
        self._cuda.upload(held.address, batch)
        self._cuda.synchronize()
        return held

    def close(self) -> None:
        """See `Engine.close`."""
        for graph in self._graphs.values():
            graph.close()
        self._graphs.clear()
        del self._no_features
        self._cuda.close()
