# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Read protocol buffers field by field, so that robots need no `onnx` package to look into a graph.

Everything raises ValueError where bytes are no protocol buffer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


class Field(NamedTuple):
    """A field: its number, its value, and all of its bytes as they stand in the message."""

    number: int
    value: int | memoryview
    whole: memoryview


def fields(message: memoryview) -> Iterator[Field]:
    """Yield the fields of a message in their order."""
    position = 0
    while position < len(message):
        start = position
        key, position = _varint(message, position)
        kind, value = key & 7, None
        if kind == _VARINT:
            value, end = _varint(message, position)
        elif kind == _BYTES:
            length, position = _varint(message, position)
            end = position + length
        elif kind in (_FIXED64, _FIXED32):
            end = position + (8 if kind == _FIXED64 else 4)
        else:
            raise ValueError(f'no protocol buffer: wire type {kind}')
        if end > len(message):
            raise ValueError('no protocol buffer: a field ends after its message')
        yield Field(key >> 3, message[position:end] if value is None else value,
                    message[start:end])
        position = end


def messages(message: memoryview, number: int) -> Iterator[memoryview]:
    """Yield the values of the fields of a number that have a length: messages, texts or bytes."""
    for field in fields(message):
        if field.number == number:
            if isinstance(field.value, int):
                raise ValueError(f'no protocol buffer as expected: field {number} is a number')
            yield field.value


def integers(message: memoryview, number: int) -> Iterator[int]:
    """Yield the values of the fields of a number that are single integers."""
    for field in fields(message):
        if field.number == number:
            if not isinstance(field.value, int):
                raise ValueError(f'no protocol buffer as expected: field {number} is no number')
            yield field.value


def all_integers(message: memoryview, number: int) -> Iterator[int]:
    """Yield the signed integers of a number, be they single or packed."""
    for field in fields(message):
        if field.number != number:
            continue
        values, position = [], 0
        if isinstance(field.value, int):
            values = [field.value]
        else:
            while position < len(field.value):
                value, position = _varint(field.value, position)
                values.append(value)
        yield from (value - 2**64 if value >= 2**63 else value for value in values)


def texts(message: memoryview, number: int) -> Iterator[str]:
    """Return the values of the fields of a number that are texts."""
    return (str(value, 'utf-8') for value in messages(message, number))


def write_field(number: int, content: bytes) -> bytes:
    """Return a field that has a length."""
    return write_integer(number << 3 | _BYTES) + write_integer(len(content)) + content


def write_integer(value: int) -> bytes:
    """Return an integer as a varint."""
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(message[position:position + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, position + place + 1
    raise ValueError('no protocol buffer: a number does not end')
