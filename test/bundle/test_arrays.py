# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Arrays of .npz files: what they claim is checked before memory is taken for it."""

from __future__ import annotations

import io
import resource
import struct
import zipfile

import numpy as np
import pytest

from deltaworld_ros.bundle.arrays import read_arrays
from deltaworld_ros.errors import UserError


def npz(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f'{name}.npy', content)
    return file.getvalue()


def npy(shape: str, descr: str = "'<f4'", body: bytes = b'') -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b'\x93NUMPY\x01\0' + struct.pack('<H', len(header)) + header + body


def test_arrays_come_back() -> None:
    file = io.BytesIO()
    arrays = {'a': np.arange(6.0).reshape(2, 3), 'b': np.asfortranarray(np.eye(3, 2, 1)),
              'c': np.array(3, np.uint8), 'd': np.zeros((0, 4), np.int64)}
    np.savez_compressed(file, **arrays, other=np.array(['text']))
    read = read_arrays(file.getvalue(), 'x', list(arrays))
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype and read[name].flags.writeable


@pytest.mark.parametrize('content, says', [
    (npy('(1000000000000,)'), '1024 MiB'), (npy('(99999999999, 99999999999)'), '1024 MiB'),
    (npy('(700000000,)'), '1024 MiB'), (npy('(2,)*100'), 'cannot be read'),
    (npy('(-1,)'), 'has the shape'), (npy('(True,)'), 'has the shape'),
    (npy('"x"'), 'cannot be read'), (npy('()', "'|O'"), 'must hold numbers'),
    (npy('(1,)', "[('a', '<f4')]"), 'must hold numbers'), (npy('(2,)', "'<U5'"), 'hold numbers'),
    (npy('(2,)', "'<c8'"), 'must hold numbers'), (npy('(9,)', body=b'few'), 'its size'),
    (npy('(1,)', body=b'12345'), 'its size'), (b'', 'cannot be read'),
    (b'\x93NUMPY\x03\0\xff\xff\xff\x7f', 'version'), (b'\x93NUMPY\x01\0\xff\xff', 'cannot be'),
    (npy('__import__("os").system("touch hacked")'), 'cannot be read'),
])
def test_headers_are_not_believed(content: bytes, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        read_arrays(npz(a=content), 'golden.npz', ['a'])
    assert '\n' not in str(caught.value) and 'golden.npz' in str(caught.value)


def test_bomb_takes_no_memory() -> None:
    """Three megabytes that would be three gigabytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive, \
            archive.open('a.npy', 'w', force_zip64=True) as member:
        member.write(npy('(750000000,)'))
        for _ in range(300):   # a tenth of what the header claims, to be quick
            member.write(bytes(1_000_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match='1024 MiB'):
        read_arrays(file.getvalue(), 'golden.npz', ['a'])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_damaged_files_are_one_line() -> None:
    file = io.BytesIO()
    np.savez_compressed(file, a=np.arange(1000))
    whole = file.getvalue()
    read_arrays(whole, 'x', ['a'])
    generator = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(generator.integers(1, 5)):
            damaged[generator.integers(len(damaged))] = generator.integers(256)
        try:
            read_arrays(bytes(damaged), 'x', ['a'])
        except UserError as error:
            assert '\n' not in str(error)
    with pytest.raises(UserError, match='lacks b, c'):
        read_arrays(whole, 'x', ['a', 'b', 'c'])
