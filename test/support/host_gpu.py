# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A GPU made of host memory, for machines without one.

libcudart's functions work on host memory, and execution contexts run the bundle's own graphs in
ONNX Runtime on the addresses that they were given. A captured stream records what is put on it,
and a CUDA graph runs it again on the same addresses. Everything else is the real TensorRT-RTX.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

from deltaworld_ros.bundle import Bundle
from deltaworld_ros.bundle.manifest import GRAPHS

EXECUTABLES = 1_000_000    # added to a graph's handle
OUT_OF_MEMORY, NOT_WHILE_CAPTURING = 2, 900
WORKSPACE_BYTES_A_NUMBER = 8    # that the host engines ask for, of each number of their outputs


class HostCudart:
    """
    The functions of libcudart that `Cuda` calls.

    What is allocated is in `memory`, at most `capacity` bytes of it; `captured` counts the
    captures and `launched` the runs of CUDA graphs. `capturable` says whether captures work.
    """

    def __init__(self, devices: int = 1, capacity: int = 1 << 32) -> None:
        self.devices = devices
        self.capacity = capacity
        self.capturable = True
        self.memory: dict[int, Any] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.captured = self.launched = 0
        self.remembered_error = 0
        self._recording: list[Callable[[], None]] | None = None

    def put(self, work: Callable[[], None]) -> None:
        """Do what is put on the stream, or record it."""
        if self._recording is None:
            work()
        else:
            self._recording.append(work)

    def array(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """Return memory as an array; it must be allocated."""
        size = int(np.prod(shape)) * dtype.itemsize
        assert size <= ctypes.sizeof(self.memory[address]), 'outside of an allocation'
        return np.ndarray(shape, dtype, (ctypes.c_char * size).from_address(address))

    def cudaGetErrorString(self, status: int) -> bytes:
        return {OUT_OF_MEMORY: b'out of memory',
                NOT_WHILE_CAPTURING: b'operation not permitted when stream is capturing',
                }[status]

    def cudaGetLastError(self) -> int:
        error, self.remembered_error = self.remembered_error, 0
        return error

    def cudaGetDeviceCount(self, count: Any) -> int:
        count._obj.value = self.devices
        return 0

    def cudaDeviceGetAttribute(self, value: Any, attribute: int, device: int) -> int:
        value._obj.value = {75: 8, 76: 6}[attribute]
        return 0

    def cudaStreamCreateWithFlags(self, stream: Any, flags: int) -> int:
        stream._obj.value = 1
        return 0

    def cudaStreamDestroy(self, stream: Any) -> int:
        return 0

    def cudaStreamSynchronize(self, stream: Any) -> int:
        return 0 if self._recording is None else self._fail(NOT_WHILE_CAPTURING)

    def cudaMalloc(self, pointer: Any, size: Any) -> int:
        if self._recording is not None:
            return self._fail(NOT_WHILE_CAPTURING)
        if size.value + sum(map(ctypes.sizeof, self.memory.values())) > self.capacity:
            return self._fail(OUT_OF_MEMORY)
        buffer = ctypes.create_string_buffer(size.value)
        pointer._obj.value = ctypes.addressof(buffer)
        self.memory[pointer._obj.value] = buffer
        return 0

    cudaMallocHost = cudaMalloc

    def cudaFree(self, address: Any) -> int:
        # So that whatever still reads it is found out.
        ctypes.memset(address, 0xff, ctypes.sizeof(self.memory[address.value]))
        del self.memory[address.value]
        return 0

    cudaFreeHost = cudaFree

    def cudaMemcpyAsync(
            self, target: Any, source: Any, size: Any, kind: int, stream: Any) -> int:
        # On a device, the other side of a copy is a device address too.
        assert kind != 2 or source.value in self.memory
        assert kind == 2 or target.value in self.memory
        assert kind != 3 or source.value in self.memory
        self.put(lambda: ctypes.memmove(target, source, size.value))
        return 0

    def cudaStreamBeginCapture(self, stream: Any, mode: int) -> int:
        if not self.capturable:
            return self._fail(NOT_WHILE_CAPTURING)
        self._recording = []
        return 0

    def cudaStreamEndCapture(self, stream: Any, graph: Any) -> int:
        assert self._recording is not None
        graph._obj.value = 1000 + self.captured
        self.graphs[graph._obj.value] = self._recording
        self._recording = None
        self.captured += 1
        return 0

    def cudaGraphInstantiateWithFlags(self, executable: Any, graph: Any, flags: Any) -> int:
        executable._obj.value = EXECUTABLES + graph.value
        self.graphs[executable._obj.value] = self.graphs[graph.value]
        return 0

    def cudaGraphDestroy(self, graph: Any) -> int:
        del self.graphs[graph.value]
        return 0

    def cudaGraphExecDestroy(self, executable: Any) -> int:
        del self.graphs[executable.value]
        return 0

    def cudaGraphLaunch(self, executable: Any, stream: Any) -> int:
        for work in self.graphs[executable.value]:
            work()
        self.launched += 1
        return 0

    def _fail(self, error: int) -> int:
        self.remembered_error = error
        return error


class HostEngine:
    """An engine."""

    def __init__(self, library: Any, model: bytes, cudart: HostCudart) -> None:
        self.session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
        self.cudart = cudart
        self._library = library
        self.inputs = {item.name: item for item in self.session.get_inputs()}
        self.outputs = {item.name: item for item in self.session.get_outputs()}
        self.num_io_tensors = len(self.inputs) + len(self.outputs)
        self.contexts: list[HostContext] = []

    def create_runtime_config(self) -> Any:
        config = SimpleNamespace()
        config.set_execution_context_allocation_strategy = (
            lambda strategy: setattr(config, 'strategy', strategy))
        return config

    def create_execution_context(self, config: Any) -> HostContext:
        assert config.strategy == self._library.ExecutionContextAllocationStrategy.USER_MANAGED
        assert (config.dynamic_shapes_kernel_specialization_strategy
                == self._library.DynamicShapesKernelSpecializationStrategy.EAGER)
        self.contexts.append(HostContext(self))
        return self.contexts[-1]

    def get_tensor_name(self, index: int) -> str:
        return [*self.inputs, *self.outputs][index]

    def get_tensor_mode(self, name: str) -> Any:
        mode = self._library.TensorIOMode
        return mode.INPUT if name in self.inputs else mode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        kind = (self.inputs | self.outputs)[name].type
        types = self._library.DataType
        return types.UINT8 if kind == 'tensor(uint8)' else types.FLOAT

    def dtype(self, name: str) -> np.dtype[Any]:
        return np.dtype(self._library.nptype(self.get_tensor_dtype(name)))


class HostContext:
    """An execution context, which needs the memory that it asks for."""

    def __init__(self, engine: HostEngine) -> None:
        self._engine = engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._workspace = (0, 0)
        self.enqueued = 0

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return all(isinstance(wanted, str) or wanted == size for wanted, size in zip(
            self._engine.inputs[name].shape, shape, strict=True))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        sizes = {
            symbol: size for item, shape in self._shapes.items()
            for symbol, size in zip(self._engine.inputs[item].shape, shape, strict=True)}
        return tuple(sizes.get(size, size) for size in self._engine.outputs[name].shape)

    def update_device_memory_size_for_shapes(self) -> int:
        return WORKSPACE_BYTES_A_NUMBER * sum(
            int(np.prod(self.get_tensor_shape(name))) for name in self._engine.outputs)

    def set_device_memory(self, address: int, size: int) -> None:
        self._workspace = (address, size)

    def set_tensor_address(self, name: str, address: int) -> None:
        self._addresses[name] = address

    def is_stream_capturable(self, stream: int) -> bool:
        # It can only tell after a run.
        return self.enqueued > 0

    def execute_async_v3(self, stream: int) -> bool:
        self.enqueued += 1
        self._engine.cudart.put(self._execute)
        return True

    def _execute(self) -> None:
        cudart, engine = self._engine.cudart, self._engine
        address, size = self._workspace
        assert size >= self.update_device_memory_size_for_shapes()
        cudart.array(address, (size,), np.dtype(np.uint8))[:] = 0xff
        feeds = {name: cudart.array(self._addresses[name], self._shapes[name], engine.dtype(name))
                 for name in engine.inputs}
        for name, value in zip(
                engine.outputs, engine.session.run(None, feeds), strict=True):
            cudart.array(self._addresses[name], value.shape, engine.dtype(name))[...] = value


class HostLibrary:
    """TensorRT-RTX whose runtime gives host engines, in the order of a bundle's graphs."""

    def __init__(self, library: Any, bundle: Bundle, cudart: HostCudart) -> None:
        self._library = library
        self._cudart = cudart
        self._models = [bundle.read(f'{graph}.onnx') for graph in GRAPHS]
        self.engines: list[HostEngine] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)

    def Runtime(self, logger: Any) -> HostLibrary:
        return self

    def deserialize_cuda_engine(self, plan: bytes) -> HostEngine:
        self.engines.append(HostEngine(self._library, self._models.pop(0), self._cudart))
        return self.engines[-1]
