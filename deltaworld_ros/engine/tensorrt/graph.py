# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Run one TensorRT engine, through a CUDA graph for each set of input shapes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.engine.interface import EngineUnavailable, OutOfDeviceMemory
from deltaworld_ros.engine.tensorrt.buffers import (
    DeviceArray,
    DeviceBuffer,
    PinnedBuffer,
    number_of_bytes,
)
from deltaworld_ros.engine.tensorrt.library import is_rtx, library_name

Shapes = dict[str, tuple[int, ...]]

# A node needs one or two a graph; the oldest goes where an evaluation wants more.
MAX_SHAPES = 8


class FixedShapes:
    """
    An execution context whose shapes and addresses never change, and its CUDA graph.

    The first run is an ordinary one, in which TensorRT sets itself up. It is then captured, and
    every result, the first one too, comes from the CUDA graph, so that the parity gate judges
    what runs later. Where it cannot be captured, it goes on without.
    """

    def __init__(self, cuda: Any, context: Any, output_shapes: Shapes,
                 last_error: Callable[[], str]) -> None:
        self.output_shapes = output_shapes
        self._cuda = cuda
        self._context = context
        self._last_error = last_error
        self._graph: int | None = None
        self._first = True

    def execute(self, not_captured: Callable[[str], None]) -> None:
        """Put a run on the stream; `not_captured` is told why it cannot be captured."""
        if self._first:
            self._enqueue()
            self._cuda.synchronize()
            self._first = False
            try:
                self._graph = self._capture()
            except (EngineUnavailable, RuntimeError) as error:
                not_captured(str(error))
                return  # with the results of the ordinary run
        if self._graph is None:
            self._enqueue()
        else:
            self._cuda.launch(self._graph)

    def close(self) -> None:
        """Free the CUDA graph and the context."""
        if self._graph is not None:
            self._cuda.free_graph(self._graph)
        self._graph = self._context = None

    def _capture(self) -> int:
        # TensorRT-RTX alone can tell beforehand.
        capturable = getattr(self._context, 'is_stream_capturable', None)
        if capturable is not None and not capturable(self._cuda.stream):
            raise RuntimeError('TensorRT-RTX says that this graph cannot be captured')
        graph: int = self._cuda.capture(self._enqueue)
        return graph

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._cuda.stream):
            raise RuntimeError(f'TensorRT could not start the engine: {self._last_error()}')


class TensorRTGraph:
    """
    One engine, the buffers of its inputs and outputs, and the memory that it works in.

    The memory is as large as the shapes that ran need, and not as the engine's largest: smaller
    batches take less. Raise `OutOfDeviceMemory` where it does not suffice.
    """

    def __init__(self, library: Any, cuda: Any, runtime: Any, name: str, plan: bytes,
                 last_error: Callable[[], str], log: Callable[[str], None]) -> None:
        self._library = library
        self._cuda = cuda
        self._last_error = last_error
        self._name = name
        self._log = log
        self._told = False
        self._engine = runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineUnavailable(
                f'{library_name(library)} cannot load the engine it built: {last_error()}')
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        self._outputs = [name for name in names if self._engine.get_tensor_mode(name)
                         == library.TensorIOMode.OUTPUT]
        self._types = {name: np.dtype(library.nptype(self._engine.get_tensor_dtype(name)))
                       for name in names}
        self._buffers = {name: DeviceBuffer(cuda) for name in names}
        self._workspace = DeviceBuffer(cuda)
        self._pinned: defaultdict[str, PinnedBuffer] = defaultdict(lambda: PinnedBuffer(cuda))
        self._prepared: dict[tuple[tuple[str, tuple[int, ...]], ...], FixedShapes] = {}

    def run(
            self, inputs: Mapping[str, NDArray[Any] | DeviceArray], wanted: Sequence[str],
            on_device: Sequence[str] = (),
    ) -> dict[str, Any]:
        """
        Run with inputs on either side; return `wanted` as host arrays without their first axis.

        Outputs named in `on_device` come as new device arrays and stay there.
        """
        arrays = {name: value if isinstance(value, DeviceArray)
                  else np.ascontiguousarray(value, self._types[name])
                  for name, value in inputs.items()}
        try:
            prepared = self._prepare({name: array.shape for name, array in arrays.items()})
            for name, array in arrays.items():
                if isinstance(array, DeviceArray):
                    self._cuda.copy(self._buffers[name].address, array.address, array.nbytes)
                else:
                    self._cuda.upload(self._buffers[name].address, array)
            prepared.execute(self._not_captured)
            shapes = prepared.output_shapes
            given: dict[str, Any] = {}
            for name in on_device:
                kept = given[name] = DeviceArray(self._cuda, shapes[name], self._types[name])
                self._cuda.copy(kept.address, self._buffers[name].address, kept.nbytes)
            pinned = {name: self._pinned[name].array(shapes[name], self._types[name])
                      for name in wanted}
            for name, array in pinned.items():
                self._cuda.download(array, self._buffers[name].address)
            self._cuda.synchronize()
        except OutOfDeviceMemory:
            # What large shapes took would be missing for smaller ones.
            self.free_memory()
            raise
        # The next run writes to the pinned arrays again.
        given.update({name: array[0].copy() for name, array in pinned.items()})
        return given

    def free_memory(self) -> None:
        """Free everything but the engine; the next run takes what it needs anew."""
        self._forget_prepared()
        for buffer in (*self._buffers.values(), self._workspace):
            buffer.free()
        for pinned in self._pinned.values():
            pinned.free()

    def close(self) -> None:
        """Free the buffers and the engine."""
        self.free_memory()
        self._engine = None

    def _prepare(self, shapes: Shapes) -> FixedShapes:
        """Return the context of these input shapes, made where it is not there yet."""
        key = tuple(sorted(shapes.items()))
        if key not in self._prepared:
            while len(self._prepared) >= MAX_SHAPES:
                self._prepared.pop(next(iter(self._prepared))).close()
            self._prepared[key] = self._make(shapes)
        return self._prepared[key]

    def _make(self, shapes: Shapes) -> FixedShapes:
        context = self._new_context()
        for name, shape in shapes.items():
            if not context.set_input_shape(name, shape):
                raise ValueError(f'{name} {shape}: the engine was built for other shapes')
        output_shapes = {name: tuple(context.get_tensor_shape(name)) for name in self._outputs}
        moved = [self._buffers[name].reserve(number_of_bytes(shape, self._types[name]))
                 for name, shape in {**shapes, **output_shapes}.items()]
        size = context.update_device_memory_size_for_shapes()
        moved.append(self._workspace.reserve(size))
        if any(moved):
            # Their addresses are those of memory that is gone.
            self._forget_prepared()
        context.set_device_memory(self._workspace.address, size)
        for name, buffer in self._buffers.items():
            context.set_tensor_address(name, buffer.address)
        return FixedShapes(self._cuda, context, output_shapes, self._last_error)

    def _new_context(self) -> Any:
        strategy = self._library.ExecutionContextAllocationStrategy.USER_MANAGED
        if is_rtx(self._library):
            config = self._engine.create_runtime_config()
            config.set_execution_context_allocation_strategy(strategy)
            # Kernels compiled later for the same shapes would not be in the captured graph.
            config.dynamic_shapes_kernel_specialization_strategy = (
                self._library.DynamicShapesKernelSpecializationStrategy.EAGER)
            context = self._engine.create_execution_context(config)
        else:
            context = self._engine.create_execution_context(strategy)
        if context is None:
            raise OutOfDeviceMemory(
                f'TensorRT could not make an execution context: {self._last_error()}')
        return context

    def _not_captured(self, reason: str) -> None:
        if not self._told:
            self._log(f'TensorRT: {self._name} runs without a CUDA graph, which costs some time: '
                      f'{reason}')
        self._told = True

    def _forget_prepared(self) -> None:
        for prepared in self._prepared.values():
            prepared.close()
        self._prepared.clear()
