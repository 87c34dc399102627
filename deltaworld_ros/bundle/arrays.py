# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Read named arrays from the bytes of an .npz file, whose headers are believed only so far."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from deltaworld_ros.errors import UserError

# A few kilobytes that are compressed can claim any size.
MAX_ARRAY_BYTES = 1 << 30
_KINDS = 'biuf'


def read_arrays(content: bytes, source: object, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """
    Return arrays by name; others in the file are not touched. `source` names it in errors.

    Raise `UserError` where it is no such file, lacks a name, holds other things than numbers, or
    where the arrays together would take more than `MAX_ARRAY_BYTES`, before they are read.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            stored = set(archive.namelist())
            missing = [name for name in names if f'{name}.npy' not in stored]
            if missing:
                raise UserError(f'{source} lacks {", ".join(missing)}')
            arrays: dict[str, NDArray[Any]] = {}
            left = MAX_ARRAY_BYTES
            for name in names:
                with archive.open(f'{name}.npy') as stream:
                    arrays[name] = _read_array(stream, f'{source}: {name}', left)
                left -= arrays[name].nbytes
            return arrays
    # What damaged files raise, from zipfile, zlib and NumPy.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError, OverflowError,
            SyntaxError, TypeError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f'{source}: cannot be read as an .npz file of arrays: '
                        f'{" ".join(str(error).split())[:200]}') from None


def _read_array(stream: Any, source: str, most: int) -> NDArray[Any]:
    version = npy.read_magic(stream)
    reader = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if reader is None:
        raise UserError(f'{source}: is of the .npy version {version}; must be 1.0 or 2.0')
    shape, column_major, dtype = reader(stream)
    if dtype.kind not in _KINDS:
        raise UserError(f'{source}: holds {dtype} and must hold numbers')
    if any(type(size) is not int or size < 0 for size in shape):
        raise UserError(f'{source}: has the shape {str(shape)[:100]}')
    size = prod(shape) * dtype.itemsize
    if len(shape) > 16 or size > most:
        raise UserError(f'{source}: has the shape {str(shape)[:100]} of {dtype}; the arrays of a '
                        f'file may take {MAX_ARRAY_BYTES >> 20} MiB together')
    data = stream.read(size)
    if len(data) != size or stream.read(1):
        raise UserError(f'{source}: its size is not that of its header')
    array = np.frombuffer(bytearray(data), dtype)
    return array.reshape(shape, order='F' if column_major else 'C')
