# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Keep built engines in the user's cache directory, each under a key of what it depends on."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_DIGEST_BYTES = hashlib.sha256().digest_size


def cache_folder() -> Path:
    """Give the folder of engines: `$XDG_CACHE_HOME/deltaworld_ros/engines`."""
    base = os.environ.get('XDG_CACHE_HOME')
    return (Path(base) if base else Path.home() / '.cache') / 'deltaworld_ros' / 'engines'


def plan_key(parts: Mapping[str, Any]) -> str:
    """Give the key of everything an engine depends on: any other value is another engine."""
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def cached_plan(
        path: Path, build: Callable[[], bytes], log: Callable[[str], None],
) -> bytes:
    """
    Read the engine at `path`, or build it and write it there.

    `log` gets one line where it is built, which says why. A folder that cannot be written costs
    a build each time and nothing else.
    """
    try:
        data = path.read_bytes()
    except OSError:
        log(f'{path.name}: not in the cache; building it, which takes a while')
    else:
        digest, plan = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if plan and hashlib.sha256(plan).digest() == digest:
            return plan
        log(f'{path.name}: damaged in the cache; building it anew, which takes a while')
    plan = build()
    try:
        write_atomically(path, hashlib.sha256(plan).digest() + plan)
    except OSError as error:
        log(f'{path}: cannot be written ({error.strerror}); it will be built again next time')
    return plan


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that others see whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
