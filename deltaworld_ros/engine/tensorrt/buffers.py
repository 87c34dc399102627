# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Arrays in device memory, and buffers whose addresses stay so that CUDA graphs may keep them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class DeviceArray:
    """A float32 or other array in device memory, freed with its last user."""

    def __init__(self, cuda: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape = shape
        self.dtype = dtype
        self.nbytes = number_of_bytes(shape, dtype)
        self._cuda = cuda
        self.address: int = cuda.allocate(self.nbytes)

    def __del__(self) -> None:
        # Without an address the allocation failed.
        if hasattr(self, 'address'):
            self._cuda.free(self.address)


class DeviceBuffer:
    """Device memory that only moves where more of it is needed than there was."""

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._capacity = 0
        self.address = 0

    def reserve(self, size: int) -> bool:
        """Make room for `size` bytes; True where the address changed and the content is lost."""
        size = max(size, 1)
        if size <= self._capacity:
            return False
        # Freed first: both at once may be more than the device has.
        self.free()
        self.address = self._cuda.allocate(size)
        self._capacity = size
        return True

    def free(self) -> None:
        """Free the memory."""
        if self._capacity:
            self._cuda.free(self.address)
        self._capacity = self.address = 0


class PinnedBuffer:
    """Host memory that the device writes to directly."""

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._memory: NDArray[np.uint8] | None = None

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the memory as an array; a later call may reuse or move it."""
        size = max(number_of_bytes(shape, dtype), 1)
        if self._memory is None or self._memory.size < size:
            self.free()
            self._memory = self._cuda.pinned((size,), np.dtype(np.uint8))
        return np.ndarray(shape, dtype, self._memory.data)

    def free(self) -> None:
        """Free the memory."""
        memory, self._memory = self._memory, None
        if memory is not None:
            self._cuda.free_pinned(memory)


def number_of_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Return the size of a contiguous array."""
    return int(np.prod(shape)) * dtype.itemsize
