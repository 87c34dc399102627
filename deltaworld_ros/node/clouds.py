# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Arrays of records to PointCloud2."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

_DATATYPES = {
    np.dtype(np.uint8): PointField.UINT8, np.dtype(np.int16): PointField.INT16,
    np.dtype(np.float32): PointField.FLOAT32}


def record_type(**fields: Any) -> np.dtype[Any]:
    """Return a record of fields with x, y and z before them, each at a multiple of its size."""
    return np.dtype([*((name, np.float32) for name in 'xyz'), *fields.items()], align=True)


def cloud_message(header: Header, records: NDArray[Any]) -> PointCloud2:
    """Make a PointCloud2 of records (n,), or (h, w) for one that is organised as an image."""
    kind = records.dtype
    assert kind.fields is not None and kind.names is not None
    fields = [PointField(name=name, offset=kind.fields[name][1],
                         datatype=_DATATYPES[kind.fields[name][0]], count=1)
              for name in kind.names]
    height, width = records.shape if records.ndim == 2 else (1, len(records))
    data = array.array('B')
    data.frombytes(np.ascontiguousarray(records).tobytes())
    return PointCloud2(
        header=header, height=height, width=width, fields=fields, is_bigendian=False,
        point_step=kind.itemsize, row_step=kind.itemsize * width, data=data,
        is_dense=records.ndim == 1)
