# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Run the graphs of a bundle as TensorRT engines."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.engine.interface import EngineUnavailable, Features
from deltaworld_ros.engine.tensorrt.build import build_engines
from deltaworld_ros.engine.tensorrt.cuda import Cuda
from deltaworld_ros.engine.tensorrt.library import find_library, library_name

_LOGGER = logging.getLogger(__name__)


class DeviceArray:
    """A float32 or other array in device memory, freed with its last user."""

    def __init__(self, cuda: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape = shape
        self.dtype = dtype
        self.nbytes = int(np.prod(shape)) * dtype.itemsize
        self._cuda = cuda
        self.address: int = cuda.allocate(self.nbytes)

    def __del__(self) -> None:
        # Without an address the allocation failed.
        if hasattr(self, 'address'):
            self._cuda.free(self.address)


class TensorRTGraph:
    """One engine with the buffers of the shapes that it ran with last."""

    def __init__(self, library: Any, cuda: Any, runtime: Any, plan: bytes) -> None:
        self._cuda = cuda
        self._engine = runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineUnavailable(f'{library_name(library)} cannot load the engine it built')
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EngineUnavailable('too little device memory for an execution context')
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        self._outputs = [name for name in names if self._engine.get_tensor_mode(name)
                         == library.TensorIOMode.OUTPUT]
        self._types = {name: np.dtype(library.nptype(self._engine.get_tensor_dtype(name)))
                       for name in names}
        self._kept: dict[str, DeviceArray] = {}
        self._pinned: dict[str, NDArray[Any]] = {}

    def run(
            self, inputs: Mapping[str, NDArray[Any] | DeviceArray], wanted: Sequence[str],
            on_device: Sequence[str] = (),
    ) -> dict[str, Any]:
        """
        Run with inputs on either side; give `wanted` as host arrays without their first axis.

        Outputs named in `on_device` come as new device arrays and stay there.
        """
        for name, value in inputs.items():
            if isinstance(value, DeviceArray):
                held = value
            else:
                array = np.ascontiguousarray(value, self._types[name])
                held = self._buffer(name, array.shape)
                self._cuda.upload(held.address, array)
            if not self._context.set_input_shape(name, held.shape):
                raise ValueError(f'{name} {held.shape}: the engine was built for other shapes')
            self._context.set_tensor_address(name, held.address)
        given: dict[str, Any] = {}
        for name in self._outputs:
            shape = tuple(self._context.get_tensor_shape(name))
            if name in on_device:
                held = given[name] = DeviceArray(self._cuda, shape, self._types[name])
            else:
                held = self._buffer(name, shape)
            self._context.set_tensor_address(name, held.address)
        if not self._context.execute_async_v3(self._cuda.stream):
            raise RuntimeError('TensorRT could not start the engine')
        for name in wanted:
            self._cuda.download(self._pinned_array(name), self._kept[name].address)
        self._cuda.synchronize()
        # The next run writes to the pinned arrays again.
        given.update({name: self._pinned[name][0].copy() for name in wanted})
        return given

    def close(self) -> None:
        """Free the buffers and the engine."""
        for array in self._pinned.values():
            self._cuda.free_pinned(array)
        self._pinned.clear()
        self._kept.clear()
        self._context = self._engine = None

    def _buffer(self, name: str, shape: tuple[int, ...]) -> DeviceArray:
        held = self._kept.get(name)
        if held is None or held.shape != shape:
            self._kept.pop(name, None)
            held = self._kept[name] = DeviceArray(self._cuda, shape, self._types[name])
        return held

    def _pinned_array(self, name: str) -> NDArray[Any]:
        array, held = self._pinned.get(name), self._kept[name]
        if array is None or array.shape != held.shape:
            if array is not None:
                self._cuda.free_pinned(array)
            array = self._pinned[name] = self._cuda.pinned(held.shape, held.dtype)
        return array


class TensorRTEngine:
    """
    The graphs of a bundle in TensorRT; features stay on the GPU as `DeviceArray`.

    Raise `EngineUnavailable` where TensorRT, CUDA or a GPU is missing, or a graph does not build.
    """

    def __init__(self, bundle: Bundle, library: Any = None, cuda: Any = None) -> None:
        library = library or find_library()
        cuda = cuda or Cuda()
        capability = cuda.capability()
        self.name = f'{library_name(library)} (compute capability {capability})'
        self._cuda = cuda
        plans = build_engines(library, bundle, [capability], _LOGGER.info)
        runtime = library.Runtime(library.Logger(library.Logger.ERROR))
        self._graphs = {
            name: TensorRTGraph(library, cuda, runtime, plan) for name, plan in plans.items()}
        m = bundle.manifest
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
    ) -> NDArray[np.float32]:
        """See `Engine.rollout`."""
        given = self._graphs['rollout'].run(
            {'tokens': tokens[None], 'rotary_cos': rotary_cos[None],
             'rotary_sin': rotary_sin[None], 'noise': noise[None]}, ('future_tokens',))
        future: NDArray[np.float32] = given['future_tokens']
        return future

    def decode(
            self, features: Features, tokens: NDArray[np.float32], weights: NDArray[np.float32],
            outputs: Sequence[str], leads: Sequence[int] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """See `Engine.decode`; all leads are computed."""
        return self._graphs['decode'].run(
            {'features': features, 'tokens': tokens[None], 'weights': weights[None]}, outputs)

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
