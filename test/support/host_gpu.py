# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A GPU made of host memory, for machines without one.

libcudart's functions work on host memory, and execution contexts run the bundle's own graphs in
ONNX Runtime on the addresses that they were given. Everything else is the real TensorRT-RTX.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import onnxruntime

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.bundle.manifest import GRAPHS


class HostCudart:
    """The functions of libcudart that `Cuda` calls; what is left allocated is in `memory`."""

    def __init__(self, devices: int = 1) -> None:
        self.devices = devices
        self.memory: dict[int, Any] = {}

    def cudaGetErrorString(self, status: int) -> bytes:
        return b'out of memory'

    def cudaGetDeviceCount(self, count: Any) -> int:
        count._obj.value = self.devices
        return 0

    def cudaDeviceGetAttribute(self, value: Any, attribute: int, device: int) -> int:
        value._obj.value = {75: 8, 76: 6}[attribute]
        return 0

    def cudaStreamCreate(self, stream: Any) -> int:
        stream._obj.value = 1
        return 0

    def cudaStreamSynchronize(self, stream: Any) -> int:
        return 0

    cudaStreamDestroy = cudaStreamSynchronize

    def cudaMalloc(self, pointer: Any, size: Any) -> int:
        if size.value > 1 << 32:
            return 2
        buffer = ctypes.create_string_buffer(size.value)
        pointer._obj.value = ctypes.addressof(buffer)
        self.memory[pointer._obj.value] = buffer
        return 0

    cudaMallocHost = cudaMalloc

    def cudaFree(self, address: Any) -> int:
        del self.memory[address.value]
        return 0

    cudaFreeHost = cudaFree

    def cudaMemcpyAsync(
            self, target: Any, source: Any, size: Any, kind: int, stream: Any) -> int:
        ctypes.memmove(target, source, size.value)
        return 0


class HostEngine:
    """An engine and its execution context."""

    def __init__(self, library: Any, path: str) -> None:
        self._session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
        self._library = library
        self._inputs = {item.name: item for item in self._session.get_inputs()}
        self._outputs = {item.name: item for item in self._session.get_outputs()}
        self.num_io_tensors = len(self._inputs) + len(self._outputs)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def create_execution_context(self) -> HostEngine:
        return self

    def get_tensor_name(self, index: int) -> str:
        return [*self._inputs, *self._outputs][index]

    def get_tensor_mode(self, name: str) -> Any:
        mode = self._library.TensorIOMode
        return mode.INPUT if name in self._inputs else mode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        kind = (self._inputs | self._outputs)[name].type
        types = self._library.DataType
        return types.UINT8 if kind == 'tensor(uint8)' else types.FLOAT

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return all(isinstance(wanted, str) or wanted == size for wanted, size in zip(
            self._inputs[name].shape, shape, strict=True))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        sizes = {
            symbol: size for item, shape in self._shapes.items()
            for symbol, size in zip(self._inputs[item].shape, shape, strict=True)}
        return tuple(sizes.get(size, size) for size in self._outputs[name].shape)

    def set_tensor_address(self, name: str, address: int) -> None:
        self._addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        feeds = {name: self._array(name, self._shapes[name]) for name in self._inputs}
        for name, value in zip(
                self._outputs, self._session.run(None, feeds), strict=True):
            self._array(name, value.shape)[...] = value
        return True

    def _array(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        dtype = np.dtype(self._library.nptype(self.get_tensor_dtype(name)))
        size = int(np.prod(shape)) * dtype.itemsize
        return np.ndarray(shape, dtype, (ctypes.c_char * size).from_address(self._addresses[name]))


class HostLibrary:
    """TensorRT-RTX whose runtime gives host engines, in the order of a bundle's graphs."""

    def __init__(self, library: Any, bundle: Bundle) -> None:
        self._library = library
        self._paths = [str(bundle.file(f'{graph}.onnx')) for graph in GRAPHS]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)

    def Runtime(self, logger: Any) -> HostLibrary:
        return self

    def deserialize_cuda_engine(self, plan: bytes) -> HostEngine:
        return HostEngine(self._library, self._paths.pop(0))
