# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The few functions of the CUDA runtime that engines need, through ctypes."""

from __future__ import annotations

import ctypes
import ctypes.util
import glob
import sysconfig
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltaworld_ros.engine.interface import EngineUnavailable, OutOfDeviceMemory

# Values of enumerations in driver_types.h.
_TO_DEVICE, _TO_HOST, _ON_DEVICE = 1, 2, 3
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
_STREAM_NON_BLOCKING = 1
_CAPTURE_THREAD_LOCAL = 1
_ERROR_MEMORY_ALLOCATION = 2


class Cuda:
    """
    The first GPU: its memory and one stream, on which everything happens in order.

    Raise `EngineUnavailable` where there is no CUDA runtime or no GPU, and `OutOfDeviceMemory`
    where memory runs out.
    """

    def __init__(self) -> None:
        self._library = _load()
        count = ctypes.c_int()
        self._call('cudaGetDeviceCount', ctypes.byref(count))
        if count.value == 0:
            raise EngineUnavailable('this machine has no CUDA GPU')
        self._stream = ctypes.c_void_p()
        # A stream that waits for the default one could not be captured beside other users of it.
        self._call('cudaStreamCreateWithFlags', ctypes.byref(self._stream), _STREAM_NON_BLOCKING)

    @property
    def stream(self) -> int:
        """Return the stream's handle."""
        return self._stream.value or 0

    def capability(self) -> str:
        """Return the GPU's compute capability, such as `8.6`."""
        numbers = []
        for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR):
            value = ctypes.c_int()
            self._call('cudaDeviceGetAttribute', ctypes.byref(value), attribute, 0)
            numbers.append(str(value.value))
        return '.'.join(numbers)

    def allocate(self, size: int) -> int:
        """Return the address of `size` bytes of device memory."""
        pointer = ctypes.c_void_p()
        self._call('cudaMalloc', ctypes.byref(pointer), ctypes.c_size_t(max(size, 1)))
        return pointer.value or 0

    def free(self, address: int) -> None:
        """Free device memory."""
        self._call('cudaFree', ctypes.c_void_p(address))

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array in host memory that the device writes to directly; see `free_pinned`."""
        pointer = ctypes.c_void_p()
        size = max(int(np.prod(shape)) * dtype.itemsize, 1)
        self._call('cudaMallocHost', ctypes.byref(pointer), ctypes.c_size_t(size))
        buffer: Any = (ctypes.c_char * size).from_address(pointer.value or 0)
        return np.ndarray(shape, dtype, buffer)

    def free_pinned(self, array: NDArray[Any]) -> None:
        """Free an array of `pinned`."""
        self._call('cudaFreeHost', ctypes.c_void_p(array.ctypes.data))

    def upload(self, address: int, array: NDArray[Any]) -> None:
        """Copy a contiguous array to the device; it may be changed on return."""
        # Copies from pageable memory are staged before the call returns.
        self._copy(address, array.ctypes.data, array.nbytes, _TO_DEVICE)

    def download(self, array: NDArray[Any], address: int) -> None:
        """Copy from the device to a contiguous array, complete after `synchronize`."""
        self._copy(array.ctypes.data, address, array.nbytes, _TO_HOST)

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy `size` bytes from one address on the device to another."""
        self._copy(target, source, size, _ON_DEVICE)

    def capture(self, enqueue: Callable[[], None]) -> int:
        """
        Record what `enqueue` puts on the stream as a CUDA graph, without running it.

        Return the handle for `launch`. Raise `EngineUnavailable`, or what `enqueue` raises, where
        that fails; the stream is then as before.
        """
        self._call('cudaStreamBeginCapture', self._stream, _CAPTURE_THREAD_LOCAL)
        graph = ctypes.c_void_p()
        try:
            enqueue()
        except BaseException:
            # The error that ends a broken capture says less than the one that broke it.
            self._library.cudaStreamEndCapture(self._stream, ctypes.byref(graph))
            self._library.cudaGetLastError()
            raise
        self._call('cudaStreamEndCapture', self._stream, ctypes.byref(graph))
        executable = ctypes.c_void_p()
        try:
            # cudaGraphInstantiate has other parameters in CUDA 11 than in CUDA 12.
            self._call('cudaGraphInstantiateWithFlags', ctypes.byref(executable), graph,
                       ctypes.c_ulonglong(0))
        finally:
            self._call('cudaGraphDestroy', graph)
        return executable.value or 0

    def launch(self, graph: int) -> None:
        """Run a captured graph on the stream."""
        self._call('cudaGraphLaunch', ctypes.c_void_p(graph), self._stream)

    def free_graph(self, graph: int) -> None:
        """Free a captured graph."""
        self._call('cudaGraphExecDestroy', ctypes.c_void_p(graph))

    def synchronize(self) -> None:
        """Wait until the stream is done."""
        self._call('cudaStreamSynchronize', self._stream)

    def close(self) -> None:
        """Free the stream."""
        self._call('cudaStreamDestroy', self._stream)

    def _copy(self, target: int, source: int, size: int, kind: int) -> None:
        self._call('cudaMemcpyAsync', ctypes.c_void_p(target), ctypes.c_void_p(source),
                   ctypes.c_size_t(size), kind, self._stream)

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status != 0:
            # The runtime remembers the error, and others would take it for theirs.
            self._library.cudaGetLastError()
            text = self._library.cudaGetErrorString(status).decode()
            kind = OutOfDeviceMemory if status == _ERROR_MEMORY_ALLOCATION else EngineUnavailable
            raise kind(f'{name}: {text} (CUDA error {status})')


def _load() -> ctypes.CDLL:
    packages = sysconfig.get_paths()['purelib']
    names = [
        ctypes.util.find_library('cudart'), 'libcudart.so', 'libcudart.so.13', 'libcudart.so.12',
        # Where pip puts NVIDIA's packages, which are on no library path.
        *sorted(glob.glob(f'{packages}/nvidia/**/libcudart.so.*', recursive=True), reverse=True)]
    for name in filter(None, names):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.cudaGetErrorString.restype = ctypes.c_char_p
        return library
    raise EngineUnavailable(
        'no CUDA runtime (libcudart) was found; it comes with CUDA, or with '
        'pip install nvidia-cuda-runtime')
