# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which recordings to score: paths, lists of paths in a file, and addresses of a remote store."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deltaworld_ros.errors import UserError

_ADDRESS = '://'
_MAX_LIST = 16 * 2**20   # bytes
_MAX_NESTED = 10


def list_bags(sources: Sequence[str], nested: int = 0) -> list[str]:
    """
    Return the recordings that sources name, in their order.

    A source is a path, an address that fsspec knows (`s3://...`, with `*` for several), or
    `@FILE` with a source a line. Raise `UserError` where a list or address cannot be read.
    `nested` is how many lists this one stands in.
    """
    found: list[str] = []
    for source in sources:
        if source.startswith('@'):
            if nested == _MAX_NESTED:
                raise UserError(f'{source}: lists are nested more than {_MAX_NESTED} deep; does '
                                'one name itself?')
            found += list_bags(_lines(Path(source[1:])), nested + 1)
        elif _ADDRESS in source and '*' in source:
            found += _expand(source)
        else:
            found.append(source)
    return found


@contextlib.contextmanager
def local_copy(source: str) -> Iterator[Path]:
    """Yield the path of a recording; one at an address is copied here for the while."""
    if _ADDRESS not in source:
        yield Path(source)
        return
    with tempfile.TemporaryDirectory(prefix='deltaworld_bag_') as folder:
        store, path = _store(source)
        target = Path(folder) / Path(path.rstrip('/')).name
        try:
            store.get(path, str(target), recursive=True)
        except OSError as error:
            raise UserError(f'{source}: cannot be copied: {error}') from None
        yield target


def _lines(path: Path) -> list[str]:
    try:
        with path.open('rb') as stream:   # which may be a pipe
            content = stream.read(_MAX_LIST + 1)
        if len(content) > _MAX_LIST:
            raise OSError(f'it has more than {_MAX_LIST} bytes')
        lines = content.decode('utf-8-sig').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'{path}: not a readable list of bags, one a line: {error}') from None
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]


def _expand(source: str) -> list[str]:
    store, path = _store(source)
    try:
        found = sorted(store.glob(path))
    except OSError as error:
        raise UserError(f'{source}: cannot be listed: {error}') from None
    if not found:
        raise UserError(f'{source}: there is no such bag')
    return [store.unstrip_protocol(one) for one in found]


def _store(source: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise UserError(f'{source}: an address needs fsspec: pip install fsspec') from None
    try:
        store, path = fsspec.core.url_to_fs(source)
    except (ValueError, ImportError) as error:
        raise UserError(f'{source}: {error}') from None
    return store, path
